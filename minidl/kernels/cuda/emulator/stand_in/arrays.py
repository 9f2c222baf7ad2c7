"""The stand-in's array: a NumPy array in guarded memory that behaves as CuPy's, and is stricter.

What CuPy refuses is refused (NumPy arrays beside it, implicit copies to the CPU), and so is what CuPy lets pass and
a GPU then does wrongly: an index out of bounds, NaN made an integer, different numbers stored in one place.
"""

from typing import NamedTuple

import numpy as np

from minidl.kernels.cuda.emulator.stand_in.cuda.memory import FRESH, MemoryPointer
from minidl.kernels.cuda.emulator.stand_in.operands import (
    DeviceArray,
    allocate,
    call,
    operand,
    refuse_recording,
    result_of,
    view_of,
    view_or_result,
)
from minidl.kernels.cuda.emulator.stand_in.transfers import copy_to_device, copy_to_host

library = {}  # {name: function}: what CuPy has that works on arrays; functions.py fills it


class Flags(NamedTuple):
    """How an array lies in memory."""

    c_contiguous: bool
    f_contiguous: bool


class ndarray(DeviceArray):
    """An array on the stand-in GPU, made by the functions of this package; ``ndarray(shape, dtype)`` is empty."""

    __slots__ = ()
    __array_priority__ = 100  # CuPy's
    __hash__ = None

    def __new__(cls, shape, dtype=float):
        return allocate(cls, shape, dtype)

    shape = property(lambda self: self._numbers.shape)
    strides = property(lambda self: self._numbers.strides)
    dtype = property(lambda self: self._numbers.dtype)
    ndim = property(lambda self: self._numbers.ndim)
    size = property(lambda self: self._numbers.size)
    itemsize = property(lambda self: self._numbers.itemsize)
    nbytes = property(lambda self: self._numbers.nbytes)
    flags = property(lambda self: Flags(self._numbers.flags.c_contiguous, self._numbers.flags.f_contiguous))
    data = property(lambda self: MemoryPointer(self._memory, self._numbers.ctypes.data))
    T = property(lambda self: self.transpose())

    @property
    def __cuda_array_interface__(self):
        inside = self._numbers.__array_interface__
        return {**{key: inside[key] for key in ("shape", "typestr", "descr", "strides", "data")}, "version": 3}

    def __getattr__(self, name):
        raise AttributeError(f"arrays of the stand-in for CuPy have no {name!r}: only what minidl and yolov3 use")

    # NumPy's functions and operators, where a stand-in array is among the arguments

    def __array__(self, dtype=None, copy=None):
        raise TypeError(
            "Implicit conversion to a NumPy array is not allowed. "
            "Please use `.get()` to construct a NumPy array explicitly."
        )

    def __array_ufunc__(self, ufunc, method, *inputs, **keywords):
        function = library.get(ufunc.__name__)
        if function is None or method != "__call__":
            return NotImplemented
        if "out" in keywords:
            (keywords["out"],) = keywords["out"]
        return function(*inputs, **keywords)

    def __array_function__(self, function, types, arguments, keywords):
        own = library.get(function.__name__) if function.__module__ == "numpy" else None
        return NotImplemented if own is None else own(*arguments, **keywords)

    # Copies to the CPU, for which the program waits

    def get(self, out=None):
        """A copy as a NumPy array; in ``out`` where it is given."""
        return self._copied("get", out)

    def _copied(self, reason, out=None):
        copy_to_host(reason, self.nbytes)
        if out is None:
            return self._numbers.copy()
        if out.shape != self.shape or out.dtype != self.dtype:
            raise ValueError(f"out is {out.shape} {out.dtype}, the array {self.shape} {self.dtype}")
        out[...] = self._numbers
        return out

    def item(self):
        """The number in an array of one, as a Python number."""
        return self._copied("item").item()

    def tolist(self):
        """Lists of Python numbers."""
        return self._copied("tolist").tolist()

    def __bool__(self):
        return bool(self._copied("bool"))

    def __int__(self):
        return int(self._copied("int"))

    def __float__(self):
        return float(self._copied("float"))

    def __repr__(self):
        return repr(self._copied("repr"))

    def __str__(self):
        return str(self._copied("str"))

    def __format__(self, specification):
        return format(self._copied("format"), specification)

    def set(self, array):
        """Copy a NumPy array of the same shape and type here."""
        if not isinstance(array, np.ndarray):
            raise TypeError("Only numpy.ndarray can be set to cupy.ndarray")
        if array.dtype != self.dtype:
            raise TypeError(f"{array.dtype} array cannot be set to {self.dtype} array")
        if array.shape != self.shape:
            raise ValueError(f"Shape mismatch. Old shape: {array.shape}, new shape: {self.shape}")
        if not self.flags.c_contiguous:
            raise RuntimeError("Cannot set to non-contiguous array")
        copy_to_device("set", array.nbytes)
        self._numbers[...] = array

    # Parts

    def __len__(self):
        return len(self._numbers)

    def __iter__(self):
        if self.ndim == 0:
            raise TypeError("iteration over a 0-d array")
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index):
        parts, arrays = _index(index)
        if not arrays:
            return view_of(self, self._numbers[parts])
        _wait_for_masks(arrays)
        return result_of("an array as index", type(self), self._numbers[parts])

    def __setitem__(self, index, value):
        numbers = operand(value)
        parts, arrays = prepare_storing(index)
        if arrays and not isinstance(value, ndarray):
            copy_to_device("a number stored under an array as index", self.itemsize)
        with np.errstate(all="ignore"):
            self._numbers[parts] = numbers
            if arrays:
                self._spoil_collisions(parts, numbers)

    def _spoil_collisions(self, parts, given):
        """Where index arrays name a place twice, for different numbers, either wins on a GPU: here, the bytes 0xFF."""
        stored = self._numbers[parts]
        lost = stored != np.broadcast_to(np.asarray(given).astype(stored.dtype), stored.shape)
        lost &= stored == stored
        if lost.any():
            places = np.arange(self.size).reshape(self.shape)[parts]
            self._numbers.flat[places[lost]] = np.full(self.itemsize, FRESH, np.uint8).view(self.dtype)[0]

    # Shapes: views where possible

    def reshape(self, *shape):
        """The same numbers in another shape."""
        return view_or_result("reshape", self, self._numbers.reshape(*shape))

    def ravel(self):
        """The same numbers along one axis."""
        return view_or_result("ravel", self, self._numbers.ravel())

    def transpose(self, *axes):
        """A view with the axes in another order, reversed by default."""
        return view_of(self, self._numbers.transpose(*axes))

    def swapaxes(self, axis1, axis2):
        """A view with two axes exchanged."""
        return view_of(self, self._numbers.swapaxes(axis1, axis2))

    # Copies on the GPU

    def astype(self, dtype, copy=True):
        """The numbers in another type.  ValueError for an integer made of NaN or too large a number: GPUs differ."""
        dtype = np.dtype(dtype)
        if dtype == self.dtype and not copy:
            return self
        if self.dtype.kind == "f" and dtype.kind in "iu" and self.size:
            limits, least, most = np.iinfo(dtype), call(np.min, self._numbers), call(np.max, self._numbers)
            if not (limits.min <= least and most <= limits.max):
                raise ValueError(f"astype({dtype}) of {least} to {most}: CPU and GPU make different integers of those")
        return result_of("astype", type(self), call(self._numbers.astype, dtype))

    def copy(self):
        """A copy, C-contiguous."""
        return result_of("copy", type(self), self._numbers.copy())

    def __copy__(self):
        return self.copy()

    def __deepcopy__(self, memo):
        return self.copy()

    def __reduce__(self):
        raise TypeError("arrays of the stand-in for CuPy are not pickled: take `.get()`")

    def fill(self, value):
        """Store one number everywhere."""
        self[...] = value


def prepare_storing(index):
    """(the index as NumPy takes it, the index arrays in it), where it is allowed to store just now."""
    refuse_recording("storing into an array")
    parts, arrays = _index(index)
    _wait_for_masks(arrays)
    return parts, arrays


def _index(index):
    """(the index as NumPy takes it, the index arrays in it).

    Without index arrays an ellipsis is added, so that NumPy gives a view even of a single number.
    """
    parts = index if isinstance(index, tuple) else (index,)
    arrays = [part._numbers for part in parts if isinstance(part, ndarray)]
    for part in parts:
        whole = isinstance(part, int | np.integer) and not isinstance(part, bool)
        if not (whole or part is None or part is Ellipsis or isinstance(part, slice | ndarray)):
            raise TypeError(f"Unsupported type {type(part)} as an index: take numbers, slices, or arrays of the GPU")
    if not arrays and not any(part is Ellipsis for part in parts):
        parts = (*parts, Ellipsis)
    return tuple(part._numbers if isinstance(part, ndarray) else part for part in parts), arrays


def _wait_for_masks(arrays):
    """A mask as an index makes the program wait for the number of True in it."""
    for array in arrays:
        if array.dtype.kind == "b":
            copy_to_host("a mask as index", 4)
