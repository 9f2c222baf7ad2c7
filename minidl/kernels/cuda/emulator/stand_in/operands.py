"""From stand-in arrays to the NumPy arrays inside them and back: the one place where NumPy computes for the GPU."""

import numpy as np

from minidl.kernels.cuda.emulator.stand_in.cuda.memory import Memory
from minidl.kernels.cuda.emulator.stand_in.cuda.stream import get_current_stream


class DeviceArray:
    """What every stand-in array has: ``_memory``, a :class:`Memory`, and ``_numbers``, a NumPy array in it."""

    __slots__ = ("__weakref__", "_memory", "_numbers")


def operand(value):
    """The NumPy array in a stand-in array; a plain number as it is.

    Raises TypeError for all else, NumPy arrays included: CuPy never copies them to the GPU by itself.
    """
    if isinstance(value, DeviceArray):
        return value._numbers
    if isinstance(value, bool | int | float | np.generic):
        return value
    raise TypeError(f"Unsupported type {type(value)}")


def operands(values):
    """The NumPy arrays in a sequence of stand-in arrays."""
    for value in values:
        if not isinstance(value, DeviceArray):
            raise TypeError(f"Only cupy arrays can be concatenated or stacked, not {type(value)}")
    return [value._numbers for value in values]


def allocate(kind, shape, dtype=float, order="C"):
    """A new array of the class ``kind`` in memory of its own, full of the bytes 0xFF."""
    shape = (shape,) if isinstance(shape, int | np.integer) else tuple(shape)
    dtype = np.dtype(dtype)
    if dtype.kind not in "biuf" or dtype.itemsize > 8:
        raise ValueError(f"Unsupported dtype {dtype}")
    memory = Memory(int(np.prod(shape, dtype=np.int64)) * dtype.itemsize)
    numbers = memory.array(shape, dtype) if order == "C" else memory.array(shape[::-1], dtype).T
    return assemble(kind, memory, numbers)


def order_of(numbers):
    """In which order an array computed from these numbers lies in memory."""
    return "F" if numbers.flags.f_contiguous and not numbers.flags.c_contiguous else "C"


def assemble(kind, memory, numbers):
    """An array of the class ``kind`` from its parts."""
    array = object.__new__(kind)
    array._memory, array._numbers = memory, numbers
    return array


def call(function, *arguments, **keywords):
    """What a NumPy function gives for stand-in arrays, which are among the arguments and already unwrapped.

    Nothing is reported of divisions by zero and the like: a GPU does not either.
    """
    with np.errstate(all="ignore"):
        return function(*arguments, **keywords)


def view_of(source, numbers):
    """A stand-in array for ``numbers``, which lie in the memory of ``source``."""
    return assemble(type(source), source._memory, numbers)


def result_of(name, kind, numbers):
    """A stand-in array for ``numbers`` that a function has computed, in memory of its own."""
    refuse_recording(name)
    numbers = np.asarray(numbers)
    array = allocate(kind, numbers.shape, numbers.dtype, order_of(numbers))
    array._numbers[...] = numbers
    return array


def view_or_result(name, source, numbers):
    """A view where ``numbers`` lie in the memory of ``source``; else an array of their own."""
    owner = numbers
    while getattr(owner, "base", None) is not None:
        owner = owner.base
    return view_of(source, numbers) if owner is source._memory.buffer else result_of(name, type(source), numbers)


def refuse_recording(name):
    """RuntimeError while the current stream captures: only kernels from a RawModule are recorded."""
    stream = get_current_stream()
    if stream.is_capturing():
        stream.invalidate()
        raise RuntimeError(
            f"{name} while a stream captures: only kernels of a RawModule are recorded here; "
            f"prepare constants and workspaces before the capture"
        )
