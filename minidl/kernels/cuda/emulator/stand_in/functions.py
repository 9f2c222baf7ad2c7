"""The functions of CuPy that minidl and yolov3 call on arrays: these and no others, with CuPy's parameters.

Each was looked up in CuPy 14.0 and 14.2.  Parameters that NumPy has and CuPy lacks (``initial`` and ``where`` of
reductions) are missing here too.  Numbers come out as on a GPU: a single one is an array without axes.
"""

import numpy as np

from minidl.kernels.cuda.emulator.stand_in.arrays import library, ndarray, prepare_storing
from minidl.kernels.cuda.emulator.stand_in.operands import (
    allocate,
    call,
    operand,
    operands,
    order_of,
    refuse_recording,
    result_of,
    view_or_result,
)
from minidl.kernels.cuda.emulator.stand_in.transfers import copy_to_device, copy_to_host

# Elementwise functions
UFUNCS = (
    "absolute", "add", "bitwise_and", "bitwise_or", "bitwise_xor", "divide", "equal", "exp", "floor_divide",
    "greater", "greater_equal", "invert", "isfinite", "less", "less_equal", "log", "maximum", "minimum", "multiply",
    "negative", "not_equal", "power", "remainder", "sqrt", "subtract",
)  # fmt: skip
# Types whose atomic operations every CuPy 14 uses for ``at``; int64 came after 14.0.
ATOMIC_TYPES = {
    "add": ("int32", "uint32", "uint64", "float16", "float32", "float64"),
    "subtract": ("int32", "uint32"),
    "maximum": ("int32", "uint32", "uint64", "float32", "float64"),
    "minimum": ("int32", "uint32", "uint64", "float32", "float64"),
}
REDUCTIONS = {"sum": np.sum, "mean": np.mean, "max": np.max, "min": np.min, "all": np.all, "any": np.any}


class Ufunc:
    """An elementwise function, with NumPy's broadcasting and result types."""

    def __init__(self, name):
        self.name = self.__name__ = name
        self._function = getattr(np, name)

    def __call__(self, *arguments, out=None):
        inputs = [operand(each) for each in arguments]
        if out is None:
            return result_of(self.name, ndarray, call(self._function, *inputs))
        refuse_recording(self.name)
        call(self._function, *inputs, out=operand(out))
        return out

    def at(self, array, index, values):
        """``array[index] = function(array[index], values)``, where a place that is named twice collects both.

        By atomic operations, which exist for some functions and types alone.  Where floating-point numbers are
        added, the order, and so the last digits, differ from run to run on a GPU.
        """
        if self.name not in ATOMIC_TYPES:
            raise NotImplementedError(f"`{self.name}.at` is not supported yet")
        if array.dtype.name not in ATOMIC_TYPES[self.name]:
            supported = ", ".join(ATOMIC_TYPES[self.name])
            raise TypeError(f"cupy.{self.name}.at only supports {supported} as data type, not {array.dtype}")
        parts, _ = prepare_storing(index)
        call(self._function.at, array._numbers, parts, operand(values))


def _reduction(name, function):
    def reduction(a, axis=None, *, dtype=None, out=None, keepdims=False):
        if dtype is not None and name not in ("sum", "mean"):
            raise TypeError(f"{name}() has no dtype")
        keywords = {"axis": axis, "keepdims": keepdims} | ({} if dtype is None else {"dtype": dtype})
        if out is None:
            return result_of(name, ndarray, call(function, _array(a), **keywords))
        refuse_recording(name)
        call(function, _array(a), out=operand(out), **keywords)
        return out

    return reduction


def _array(value):
    if not isinstance(value, ndarray):
        raise TypeError(f"Argument must be an array of the GPU, not {type(value)}")
    return value._numbers


# New arrays


def empty(shape, dtype=float):
    """An array of numbers that mean nothing: the bytes 0xFF, NaN."""
    return allocate(ndarray, shape, dtype)


def zeros(shape, dtype=float):
    """An array of 0."""
    return full(shape, 0, dtype)


def ones(shape, dtype=float):
    """An array of 1."""
    return full(shape, 1, dtype)


def full(shape, fill_value, dtype=None):
    """An array of one number, of the number's type by default."""
    array = empty(shape, np.asarray(operand(fill_value)).dtype if dtype is None else dtype)
    array.fill(fill_value)
    return array


def zeros_like(a, dtype=None):
    """An array of 0 of another's shape, order in memory and, by default, type."""
    return _full_like(a, 0, dtype)


def ones_like(a, dtype=None):
    """An array of 1 of another's shape, order in memory and, by default, type."""
    return _full_like(a, 1, dtype)


def _full_like(prototype, fill_value, dtype):
    numbers = np.empty_like(_array(prototype), dtype=dtype)
    array = allocate(ndarray, numbers.shape, numbers.dtype, order_of(numbers))
    array.fill(fill_value)
    return array


def arange(start, stop=None, step=1, dtype=None):
    """``start, start + step, ...`` up to but not including ``stop``, from numbers that the CPU knows."""
    for number in (start, stop, step):
        if isinstance(number, ndarray):
            raise TypeError("arange takes numbers, not arrays of the GPU")
    start, stop = (0, start) if stop is None else (start, stop)
    return result_of("arange", ndarray, np.arange(start, stop, step, dtype))


def asarray(a, dtype=None):
    """An array on the GPU from an array, a list or a number: ``a`` itself where it is one of the type wanted."""
    if isinstance(a, ndarray):
        return a if dtype is None else a.astype(dtype, copy=False)
    numbers = np.asarray(a, dtype=dtype)
    copy_to_device("asarray", numbers.nbytes)
    return result_of("asarray", ndarray, numbers)


def ascontiguousarray(a, dtype=None):
    """``a`` itself where it is C-contiguous and of the type wanted, else a copy; at least one axis."""
    numbers = np.ascontiguousarray(_array(a), dtype=dtype)
    return a if numbers is a._numbers else view_or_result("ascontiguousarray", a, numbers)


# Shapes


def broadcast_to(array, shape):
    """A view in a larger shape, for reading only."""
    return view_or_result("broadcast_to", array, np.broadcast_to(_array(array), shape))


def expand_dims(a, axis):
    """A view with axes of size 1 put in."""
    return view_or_result("expand_dims", a, np.expand_dims(_array(a), axis))


def concatenate(tup, axis=0):
    """Arrays one behind the other along an axis."""
    return result_of("concatenate", ndarray, np.concatenate(operands(tup), axis))


def stack(tup, axis=0):
    """Arrays one behind the other along a new axis."""
    return result_of("stack", ndarray, np.stack(operands(tup), axis))


def meshgrid(*xi, indexing="xy"):
    """The coordinates of a grid, from arrays of one axis each."""
    for x in xi:
        if _array(x).ndim != 1:
            raise ValueError("input has to be 1d")
    return tuple(result_of("meshgrid", ndarray, each) for each in np.meshgrid(*operands(xi), indexing=indexing))


# The rest


def where(condition, x, y):
    """``x`` where the condition holds, else ``y``."""
    return result_of("where", ndarray, np.where(_array(condition), operand(x), operand(y)))


def clip(a, a_min, a_max, out=None):
    """The numbers of ``a``, no less than ``a_min`` and no more than ``a_max``; None leaves a side open."""
    if a_min is None and a_max is None:
        raise ValueError("array_clip: must set either max or min")
    limits = (None if each is None else operand(each) for each in (a_min, a_max))
    if out is None:
        return result_of("clip", ndarray, call(np.clip, _array(a), *limits))
    refuse_recording("clip")
    call(np.clip, _array(a), *limits, out=operand(out))
    return out


def argmax(a, axis=None):
    """Index of the first largest along an axis; among all by default."""
    return result_of("argmax", ndarray, np.argmax(_array(a), axis))


def nonzero(a):
    """Indices of what is not 0, an array per axis.  The program waits for their number."""
    copy_to_host("nonzero", 4)
    return tuple(result_of("nonzero", ndarray, each) for each in np.nonzero(_array(a)))


def matmul(a, b):
    """Matrix product, by cuBLAS: not while a stream captures."""
    return result_of("matmul", ndarray, call(np.matmul, _array(a), _array(b)))


_OTHERS = (
    arange, argmax, asarray, ascontiguousarray, broadcast_to, clip, concatenate, empty, expand_dims, full, matmul,
    meshgrid, nonzero, ones, ones_like, stack, where, zeros, zeros_like,
)  # fmt: skip
library |= {name: Ufunc(name) for name in UFUNCS}
library |= {name: _reduction(name, function) for name, function in REDUCTIONS.items()}
library |= {function.__name__: function for function in _OTHERS}
library["abs"] = library["absolute"]
