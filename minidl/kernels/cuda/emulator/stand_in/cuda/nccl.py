"""NCCL for stand-in GPUs, of which each process has one: their sums travel by MPI.

It has the part of ``cupy.cuda.nccl`` that minidl uses, with CuPy's parameters; the numbers of the constants are those
of ``nccl.h``.  NCCL believes every address it is given; here, the memory must be an array's.
"""

import numpy as np

from minidl.kernels.cuda.emulator.stand_in.cuda.memory import bytes_at
from minidl.kernels.cuda.emulator.stand_in.cuda.stream import get_current_stream

available = True
NCCL_SUM = 0
NCCL_FLOAT32, NCCL_FLOAT64 = 7, 8
_TYPES = {NCCL_FLOAT32: np.float32, NCCL_FLOAT64: np.float64}
_UNIQUE_ID = tuple(range(128))  # NCCL's has so many numbers; here it leads nowhere, for there is one communicator


def get_unique_id():
    """A name for a communicator, to be made once and given to all its ranks."""
    return _UNIQUE_ID


class NcclCommunicator:
    """The GPUs of ``ndev`` processes, this one's number ``rank``; all of them must make it, with one rank's ``commId``.

    Raises ValueError for another ``commId``, or where ``ndev`` and ``rank`` are not those that ``mpiexec`` gave.
    """

    def __init__(self, ndev, commId, rank):
        from mpi4py import MPI

        if commId != _UNIQUE_ID:
            raise ValueError("commId is not what get_unique_id() gave to rank 0")
        if (ndev, rank) != (MPI.COMM_WORLD.size, MPI.COMM_WORLD.rank):
            raise ValueError(f"rank {rank} of {ndev}: the processes must be those that mpiexec started")
        self._mpi, self._world = MPI, MPI.COMM_WORLD.Dup()

    def allReduce(self, sendbuf, recvbuf, count, datatype, op, stream):
        """Write the sum over all ranks of the ``count`` numbers at address ``sendbuf`` to those at ``recvbuf``.

        Raises ValueError for an address or a stream that is none, and for what NCCL could, but this cannot.
        """
        if op != NCCL_SUM or datatype not in _TYPES:
            raise ValueError("only sums of float32 and float64 numbers")
        if stream != get_current_stream().ptr:
            raise ValueError("not the current stream: what makes the numbers may still be under way")
        get_current_stream().refuse_while_capturing("allReduce")
        size = count * np.dtype(_TYPES[datatype]).itemsize
        send, receive = (bytes_at(address, size).view(_TYPES[datatype]) for address in (sendbuf, recvbuf))
        total = send.copy()
        self._world.Allreduce(self._mpi.IN_PLACE, total)
        receive[...] = total
