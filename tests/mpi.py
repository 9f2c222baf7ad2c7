"""Programs in several processes, started by ``mpiexec``."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import PROJECT

# Open MPI does not start processes for root, nor more than there are cores, unless told that this is meant.
TOLERANT = {
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
}


def mpiexec():
    """The command that starts processes; skips the test where there is none, or no mpi4py."""
    pytest.importorskip("mpi4py", reason="several processes need mpi4py: pip install 'yolov3-from-scratch[mpi]'")
    beside = Path(sys.executable).with_name("mpiexec")  # where pip puts it
    command = str(beside) if beside.exists() else shutil.which("mpiexec")
    if command is None:
        pytest.skip("there is no mpiexec: pip install 'yolov3-from-scratch[mpi]'")
    return command


def start_ranks(count, *arguments):
    """Start ``python`` with these arguments in ``count`` processes; the process of ``mpiexec``."""
    command = [mpiexec(), "-n", str(count), sys.executable, *map(str, arguments)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, cwd=PROJECT, env=os.environ | TOLERANT, **pipes)


def ended(process, seconds=60):
    """(exit code, stdout, stderr) of a process that must end within so many seconds."""
    try:
        output, errors = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.terminate()
        output, errors = process.communicate()
        pytest.fail(f"no end after {seconds} seconds: {errors}")
    return process.returncode, output, errors


def run_ranks(count, *arguments):
    """stdout of a program in ``count`` processes that must succeed."""
    code, output, errors = ended(start_ranks(count, *arguments))
    assert code == 0, errors
    return output
