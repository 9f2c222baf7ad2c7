"""What a launch may be: CUDA's limits, and arguments that fit the kernel's parameters.

CuPy checks little of this, and a GPU that is given a wrong argument reads foreign memory.
"""

from numbers import Integral

import numpy as np

from minidl.kernels.cuda.emulator.compiler import EmulatorError

# CUDA C++ Programming Guide, "Technical Specifications per Compute Capability"; shared memory as on an H100 (9.0).
MAX_THREADS = 1024
MAX_BLOCK = (1024, 1024, 64)
MAX_GRID = (2**31 - 1, 65535, 65535)
DEFAULT_SHARED_BYTES = 48 * 1024
MAX_SHARED_BYTES = 227 * 1024


def check_launch(kernel, grid, block, shared_bytes, shared_limit):
    """``(grid, block)`` with three sizes each.  Raises EmulatorError beyond a limit."""
    grid, block = _sizes(kernel, "grid", grid, MAX_GRID), _sizes(kernel, "block", block, MAX_BLOCK)
    if block[0] * block[1] * block[2] > MAX_THREADS:
        raise EmulatorError(f"{kernel}: a block of {block} has more than {MAX_THREADS} threads")
    if not 0 <= shared_bytes <= shared_limit:
        raise EmulatorError(
            f"{kernel}: {shared_bytes} bytes of dynamic shared memory, but at most {shared_limit} are allowed "
            f"(set max_dynamic_shared_size_bytes for up to {MAX_SHARED_BYTES})"
        )
    return grid, block


def _sizes(kernel, what, sizes, limits):
    sizes = (sizes,) if isinstance(sizes, Integral) else tuple(int(size) for size in sizes)
    sizes = (*sizes, *[1] * (3 - len(sizes)))
    if len(sizes) > 3 or any(not 1 <= size <= limit for size, limit in zip(sizes, limits, strict=False)):
        raise EmulatorError(f"{kernel}: a {what} of {sizes}; each size must be from 1 to {limits}")
    return sizes


def values_of(kernel, arguments, types, names):
    """``(values, arrays)``: NumPy arrays of one element that hold what is passed, and ``(name, array)`` of the arrays.

    types: one for each parameter, as ``emulated_entry.h`` describes them.  Raises EmulatorError where one does not fit.
    """
    if len(arguments) != len(types):
        raise EmulatorError(f"{kernel} takes {len(types)} arguments, not {len(arguments)}")
    values, arrays = [], []
    for argument, kind, name in zip(arguments, types, names, strict=True):
        where = f"{kernel}: {name}"
        if not kind.startswith("*"):
            values.append(_scalar(argument, kind, where))
        elif argument is None:
            values.append(np.zeros(1, np.uintp))
        else:
            _check_array(argument, kind[1:], where)
            values.append(np.array([argument.ctypes.data], np.uintp))
            arrays.append((name, argument))
    return values, arrays


def _check_array(array, kind, where):
    if not isinstance(array, np.ndarray):
        raise EmulatorError(f"{where} is a pointer and takes an array, not {type(array).__name__}")
    if kind[0] != "V" and _kind_of(array.dtype) != kind:
        raise EmulatorError(f"{where} takes an array of {_named(kind)}, not {array.dtype}")
    if not array.flags.c_contiguous:
        raise EmulatorError(f"{where} must be contiguous")
    alignment = min(16, int(kind[1:])) if kind[0] == "V" else int(kind[1:])
    if array.ctypes.data % (alignment & -alignment):
        raise EmulatorError(f"{where} must lie at a multiple of {alignment & -alignment} bytes")


def _scalar(argument, kind, where):
    """As CuPy passes it: a Python int as 64 bits, a float as double."""
    value = np.array([argument]) if not isinstance(argument, np.ndarray) else np.array(argument)
    if value.size != 1:
        raise EmulatorError(f"{where} is a number, not an array of shape {value.shape}")
    if _kind_of(value.dtype) != kind:
        raise EmulatorError(f"{where} takes {_named(kind)}, but CuPy would pass {value.dtype}")
    return value


def _kind_of(dtype):
    """``f4`` and so on, as in ``emulated_entry.h``."""
    kind = {"b": "?", "c": "V"}.get(dtype.kind, dtype.kind)
    return f"{kind}{dtype.itemsize}"


def _named(kind):
    return f"a struct of {kind[1:]} bytes" if kind[0] == "V" else "bool" if kind == "?1" else np.dtype(kind).name
