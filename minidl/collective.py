"""Collective communication: several processes train one network, each with its share of every batch.

A :class:`Group` is those processes; each has a *rank*, from 0.  What they do together is always the same few things:
add up an array over all ranks so that each has the sum (all-reduce), give rank 0's value to all (broadcast), collect a
value of each (gather).  All must do it, in the same order, or they wait for one another for ever.

:data:`ALONE` is a process by itself, for which a sum is the array it has: with it the same code serves both.  Others
are :class:`MpiGroup`, started by ``mpiexec``: NumPy arrays travel by MPI (mpi4py), a GPU's by NCCL (CuPy).

Layers that need to know, such as batch norm, ask for the :func:`current_group`; :func:`together` sets it.
"""

import importlib
import os
import time
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial

from minidl.device import DeviceError, array_library, array_module, device_of

BUCKET = 1 << 23  # numbers that sum_all puts into one message: 32 MiB of float32
SPIN = 1e-3  # seconds to ask again and again whether a message has come, before sleeping in between
NAP = 1e-4  # seconds

_give_way = getattr(os, "sched_yield", partial(time.sleep, 0))  # let another process have the core, if one waits


class Group:
    """The processes that work on one batch: here one, alone.

    rank: of this process, below ``size``; local_rank, local_size: the same among those on this computer.
    """

    rank, size, local_rank, local_size = 0, 1, 0, 1

    def sum(self, array):
        """Replace a contiguous floating-point array, on any device, by its sum over all ranks; returns it.

        Every rank gets the same bits.
        """
        return array

    def mean(self, array):
        """As :meth:`sum`, divided by the number of ranks."""
        array = self.sum(array)
        array /= self.size
        return array

    def sum_all(self, arrays):
        """:meth:`sum` of each of several arrays, such as all gradients of a network, in few large messages.

        A message costs some microseconds however short it is, and a network has hundreds of parameters.
        """
        if self.size == 1:
            return
        for bucket in buckets(arrays):
            flat = self.sum(array_module(bucket[0]).concatenate([each.reshape(-1) for each in bucket]))
            start = 0
            for each in bucket:
                each[...] = flat[start : start + each.size].reshape(each.shape)
                start += each.size

    def share(self, value):
        """Rank 0's value, any Python object, for every rank."""
        return value

    def gather(self, value):
        """A list of the values, any Python objects, of all ranks in order; on every rank."""
        return [value]

    def gather_local(self, value):
        """As :meth:`gather`, from the ranks on this computer."""
        return [value]

    def wait(self):
        """Go on when all ranks have come here."""


ALONE = Group()
_current = ContextVar("group", default=ALONE)


def current_group():
    """The :class:`Group` that this thread computes in; :data:`ALONE` outside of :func:`together`."""
    return _current.get()


@contextmanager
def together(group):
    """Within ``with together(group):`` this thread's batch is a part of one that all ranks of the group have.

    The parts must be of the same size.
    """
    token = _current.set(group)
    try:
        yield
    finally:
        _current.reset(token)


def buckets(arrays):
    """The arrays, in order, in lists of one type and about BUCKET numbers each: what goes into one message."""
    lists, size = [], 0
    for each in arrays:
        if not lists or size + each.size > BUCKET or each.dtype != lists[-1][0].dtype:
            lists.append([])
            size = 0
        lists[-1].append(each)
        size += each.size
    return lists


class MpiGroup(Group):
    """All processes that one ``mpiexec`` has started.

    Parameters
    ----------
    communicator: mpi4py's, such as ``MPI.COMM_WORLD``
    device: ``cpu``, ``cuda`` or ``emulated``.  Each rank takes a GPU of its own, that of its local rank, for the thread
        that calls, and arrays there are added up by NCCL.

    Raises DeviceError where two ranks would have one GPU, or NCCL is missing.
    """

    def __init__(self, communicator, device="cpu"):
        from mpi4py import MPI

        self._mpi, self._world = MPI, communicator
        self._local = communicator.Split_type(MPI.COMM_TYPE_SHARED)
        self.rank, self.size = communicator.rank, communicator.size
        self.local_rank, self.local_size = self._local.rank, self._local.size
        self._nccl = None if device == "cpu" else _Nccl(self, device)

    def sum(self, array):
        if device_of(array) != "cpu":
            return self._nccl.sum(array)
        self._finish(self._world.Iallreduce(self._mpi.IN_PLACE, array))
        return array

    def share(self, value):
        self.wait()
        return self._world.bcast(value)

    def gather(self, value):
        self.wait()
        return self._world.allgather(value)

    def gather_local(self, value):
        return self._local.allgather(value)

    def wait(self):
        self._finish(self._world.Ibarrier())

    def _finish(self, request):
        """Wait for a message, without keeping a core busy for long.

        MPI's own way to wait is to look for the message all the time, as fast as it can.  That is quickest while every
        rank has a core to itself; but where there are fewer, or a rank waits while another writes a checkpoint, it
        takes the time from those that are waited for.  Python, too, can see to signals such as Ctrl-C in between.
        """
        spin_until = time.perf_counter() + SPIN
        while not request.Test():
            if time.perf_counter() < spin_until:
                _give_way()
            else:
                time.sleep(NAP)


class _Nccl:
    """Sums of a GPU's arrays over all ranks, without a copy to the CPU; nothing waits for them but the GPU itself.

    Source: NCCL's documentation, "Creating a communication with multiple processes".
    """

    def __init__(self, group, device):
        self._xp = array_library(device)
        _take_gpu(group, self._xp.cuda)
        nccl = importlib.import_module(f"{self._xp.__name__}.cuda.nccl")
        if not nccl.available:
            version = self._xp.cuda.runtime.runtimeGetVersion() // 1000
            raise DeviceError(
                f"several GPUs exchange numbers by NCCL, which is missing: install nvidia-nccl-cu{version}"
            )
        self._types = {"float32": nccl.NCCL_FLOAT32, "float64": nccl.NCCL_FLOAT64}
        self._operation = nccl.NCCL_SUM
        name = group.share(nccl.get_unique_id() if group.rank == 0 else None)  # by which the ranks find each other
        self._communicator = nccl.NcclCommunicator(group.size, name, group.rank)

    def sum(self, array):
        if not array.flags.c_contiguous:
            raise ValueError("NCCL adds up contiguous arrays alone")
        address, stream = array.data.ptr, self._xp.cuda.get_current_stream().ptr
        numbers = array.size, self._types[array.dtype.name]
        self._communicator.allReduce(address, address, *numbers, self._operation, stream)
        return array


def _take_gpu(group, cuda):
    """Make the GPU of this rank the current one of this thread: a GPU may be one rank's only."""
    count = cuda.runtime.getDeviceCount()  # a launcher may show each rank its own GPU alone, as number 0
    number = group.local_rank % count
    cuda.Device(number).use()
    taken = group.gather_local(cuda.runtime.deviceGetPCIBusId(number))
    if len(set(taken)) < len(taken):
        raise DeviceError(f"{group.local_size} processes on a computer with {count} GPU(s): start one for each GPU")
