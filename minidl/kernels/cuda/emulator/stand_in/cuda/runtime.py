"""The CUDA runtime of the stand-in GPU: its errors, and questions about the card."""

import os

from minidl.kernels.cuda.emulator.arguments import (
    DEFAULT_SHARED_BYTES,
    MAX_BLOCK,
    MAX_GRID,
    MAX_SHARED_BYTES,
    MAX_THREADS,
)
from minidl.kernels.cuda.emulator.stand_in.cuda.errors import CUDARuntimeError
from minidl.kernels.cuda.emulator.stand_in.cuda.memory import CAPACITY
from minidl.kernels.cuda.emulator.stand_in.cuda.stream import refuse_while_any_stream_captures

streamCaptureModeGlobal, streamCaptureModeThreadLocal, streamCaptureModeRelaxed = 0, 1, 2


def getDeviceCount():
    """How many GPUs there are: one."""
    return 1


def getDevice():
    """The number of the current GPU."""
    return 0


def getDeviceProperties(device):
    """``{name: value}`` of the GPU, with the limits of compute capability 9.0."""
    if device != 0:
        raise CUDARuntimeError(101)
    return {
        "name": b"emulated",
        "major": 9,
        "minor": 0,
        "multiProcessorCount": 2,
        "totalGlobalMem": CAPACITY,
        "l2CacheSize": 1 << 20,
        "sharedMemPerBlock": DEFAULT_SHARED_BYTES,
        "sharedMemPerBlockOptin": MAX_SHARED_BYTES,
        "maxThreadsPerBlock": MAX_THREADS,
        "maxThreadsDim": MAX_BLOCK,
        "maxGridSize": MAX_GRID,
        "warpSize": 32,
    }


def deviceSynchronize():
    """Wait for all kernels: here, they have run already."""
    refuse_while_any_stream_captures("deviceSynchronize")


def deviceGetPCIBusId(device):
    """Where the GPU sits in the computer: each process has one of its own."""
    getDeviceProperties(device)
    return f"emulated:{os.getpid()}"


def driverGetVersion():
    """Version of CUDA that the driver knows: 13.0."""
    return 13000


def runtimeGetVersion():
    """Version of the CUDA runtime: 13.0."""
    return 13000
