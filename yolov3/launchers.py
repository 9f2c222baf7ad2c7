"""To notice that ``mpiexec`` has started several processes of one command, and to let only the first one speak.

The standard library alone, so that ``yolov3 --help`` answers at once.
"""

import os
import time
from contextlib import contextmanager, redirect_stderr, redirect_stdout

from yolov3.errors import UserError

# Where launchers write rank and number of processes: MPICH, Intel MPI, MS-MPI; Open MPI; MVAPICH; Slurm's srun.
VARIABLES = (
    ("PMI_RANK", "PMI_SIZE"),
    ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"),
    ("MV2_COMM_WORLD_RANK", "MV2_COMM_WORLD_SIZE"),
    ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS"),
)
GRACE = 1.5  # seconds in which another process may speak before this one ends, whereupon a launcher may end all


def launched():
    """``(rank, size)`` of this process among those that a launcher has started; (0, 1) where none has."""
    for rank, size in VARIABLES:
        if os.environ.get(rank, "").isdecimal() and os.environ.get(size, "").isdecimal():
            return int(os.environ[rank]), int(os.environ[size])
    return 0, 1


@contextmanager
def one_voice():
    """Within, of several processes only the first prints; where all end with an error, the others end after it."""
    if launched()[0] == 0:
        yield
        return
    with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
        try:
            yield
        except SystemExit as end:
            if end.code:
                time.sleep(GRACE)
            raise


def refuse_several(command):
    """UserError where several processes have been started of a command that is made for one."""
    size = launched()[1]
    if command != "train" and size > 1:
        raise UserError(
            f"{size} processes were started, but only train shares its work among several: leave out mpiexec"
        )
