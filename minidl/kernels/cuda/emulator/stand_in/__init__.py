"""A stand-in for CuPy on computers without a GPU, and stricter than CuPy: what runs here runs there.

Arrays are NumPy arrays in guarded memory that starts full of NaN; kernels run in the emulator.  The library has what
minidl and yolov3 use (``library`` lists the functions) and nothing else.  Beyond CuPy's names there are :func:`count`,
which counts copies, launches and memory, and :func:`memory_limit`.
"""

from numpy import bool_, float16, float32, float64, inf, int8, int32, int64, nan, uint8, uint32

from minidl.kernels.cuda.emulator.stand_in import cuda, lib
from minidl.kernels.cuda.emulator.stand_in.arrays import ndarray
from minidl.kernels.cuda.emulator.stand_in.counts import count
from minidl.kernels.cuda.emulator.stand_in.cuda.memory import memory_limit, pool
from minidl.kernels.cuda.emulator.stand_in.functions import library
from minidl.kernels.cuda.emulator.stand_in.modules import RawKernel, RawModule
from minidl.kernels.cuda.emulator.stand_in.operators import give_operators

__all__ = [
    "RawKernel",
    "RawModule",
    "bool_",
    "count",
    "cuda",
    "float16",
    "float32",
    "float64",
    "get_default_memory_pool",
    "inf",
    "int8",
    "int32",
    "int64",
    "lib",
    "library",
    "memory_limit",
    "nan",
    "ndarray",
    "uint8",
    "uint32",
]

give_operators(ndarray, library)


def get_default_memory_pool():
    """The pool from which all arrays get their memory."""
    return pool


def __getattr__(name):
    if name in library:
        return library[name]
    raise AttributeError(f"the stand-in for CuPy has no {name!r}: only what minidl and yolov3 use (functions.py)")
