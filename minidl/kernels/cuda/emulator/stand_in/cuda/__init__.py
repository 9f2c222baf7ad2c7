"""The part of ``cupy.cuda`` that this project uses, for the stand-in GPU."""

from minidl.kernels.cuda.emulator.stand_in.cuda import memory, runtime
from minidl.kernels.cuda.emulator.stand_in.cuda.device import Device
from minidl.kernels.cuda.emulator.stand_in.cuda.memory import MemoryPointer
from minidl.kernels.cuda.emulator.stand_in.cuda.stream import (
    Event,
    Graph,
    Stream,
    get_current_stream,
    get_elapsed_time,
)


def is_available():
    """Whether there is a GPU: always one that is emulated."""
    return True


__all__ = [
    "Device",
    "Event",
    "Graph",
    "MemoryPointer",
    "Stream",
    "get_current_stream",
    "get_elapsed_time",
    "is_available",
    "memory",
    "runtime",
]
