"""CUDA source on the stand-in GPU: ``RawModule`` compiles it for the emulator, ``RawKernel`` launches it.

CuPy passes what it is given; here arguments must lie in one piece, and the emulator compares their types with the
kernel's declaration.  After each kernel the guards around its arrays are looked at.
"""

import threading
import weakref

import numpy as np

from minidl.kernels.cuda.emulator import EmulatorError, Module
from minidl.kernels.cuda.emulator.arguments import check_launch
from minidl.kernels.cuda.emulator.stand_in.arrays import ndarray
from minidl.kernels.cuda.emulator.stand_in.counts import Launch, active
from minidl.kernels.cuda.emulator.stand_in.cuda.stream import get_current_stream

_launching = threading.Lock()  # so that a broken guard is the work of the kernel that just ran


class OverrunError(EmulatorError):
    """A kernel wrote in front of or behind an array."""


class RawModule:
    """CUDA C++ source with ``extern "C"`` kernels; ``options`` for the compiler are a tuple."""

    def __init__(self, *, code, options=()):
        _check_tuple("options", options)
        self._module = Module(code, options)

    def get_function(self, name):
        """The kernel of a name."""
        return RawKernel._of(self._module, name)


class RawKernel:
    """A kernel, called as ``kernel(grid, block, arguments, shared_mem=bytes)``.

    max_dynamic_shared_size_bytes: how much shared memory a launch may ask for; 48 KB unless more is set, 227 KB at
        most.
    """

    def __init__(self, code, name, options=()):
        _check_tuple("options", options)
        self._prepare(Module(code, options), name)

    @classmethod
    def _of(cls, module, name):
        kernel = cls.__new__(cls)
        kernel._prepare(module, name)
        return kernel

    def _prepare(self, module, name):
        self.name, self._kernel = name, module.get_function(name)

    @property
    def max_dynamic_shared_size_bytes(self):
        """The most dynamic shared memory, in bytes, that a launch may ask for."""
        return self._kernel.max_dynamic_shared_size_bytes

    @max_dynamic_shared_size_bytes.setter
    def max_dynamic_shared_size_bytes(self, size):
        self._kernel.max_dynamic_shared_size_bytes = size

    def __call__(self, grid, block, args, *, shared_mem=0, stream=None):
        """Run the kernel with ``grid`` blocks of ``block`` threads, tuples of up to three; 0 becomes 1, as in CuPy."""
        _check_tuple("grid", grid)
        _check_tuple("block", block)
        grid, block = (tuple(max(1, each) for each in size) for size in (grid, block))
        check_launch(self.name, grid, block, shared_mem, self.max_dynamic_shared_size_bytes)
        prepared = PreparedLaunch(self._kernel, grid, block, args, shared_mem)
        for counts in active():
            counts.launches.append(Launch(self.name, grid, block))
        (stream or get_current_stream()).submit(prepared)


class PreparedLaunch:
    """A kernel with all that it is called with, ready to run, once or, in a graph, again and again.

    The NumPy arrays keep the memory; whether the program still has the arrays, ``check_alive`` tells.
    """

    def __init__(self, kernel, grid, block, args, shared_mem):
        self._kernel, self._grid, self._block, self._shared_mem = kernel, grid, block, shared_mem
        self._arguments = [_argument(kernel.name, index, each) for index, each in enumerate(args)]
        self._memories = []  # (weak reference to the memory, shape of the array)
        for each in args:
            if isinstance(each, ndarray):
                self._memories.append((weakref.ref(each._memory), each.shape))

    def run(self):
        """Run the kernel in the emulator.  OverrunError where it wrote beside an array."""
        with _launching:
            self._kernel(self._grid, self._block, self._arguments, self._shared_mem)
            for reference, shape in self._memories:
                if not reference().guards_are_whole():
                    raise OverrunError(f"{self._kernel.name}: wrote outside the memory of an array of shape {shape}")

    def check_alive(self):
        """RuntimeError where an array among the arguments has been freed."""
        for reference, shape in self._memories:
            if reference() is None:
                raise RuntimeError(
                    f"a graph's kernel {self._kernel.name} uses an array of shape {shape} that has been freed"
                )


def _argument(kernel, index, value):
    """An argument as the emulator's kernels take it: a NumPy array for a pointer, None for a null pointer, a scalar.

    A Python int becomes int64 and a float float64, as in CuPy; the emulator refuses them where the kernel declares
    another type.  Structs are NumPy arrays of one element.
    """
    where = f"{kernel}: argument {index}"
    if value is None:
        return None
    if isinstance(value, ndarray):
        if not value.flags.c_contiguous:
            raise ValueError(f"{where}: an array of shape {value.shape} that is not contiguous; kernels ignore strides")
        return value._numbers
    if isinstance(value, np.ndarray):
        if value.size != 1:
            raise TypeError(
                f"{where}: You are trying to pass a numpy.ndarray of shape {value.shape} as a kernel parameter. "
                f"Only numpy.ndarrays of size one can be passed by value."
            )
        return value.copy().reshape(())[()]
    if isinstance(value, np.generic) and not isinstance(value, np.void):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return np.int64(value) if isinstance(value, int) else np.float64(value)
    raise TypeError(f"{where}: Unsupported type {type(value)}")


def _check_tuple(name, value):
    if not isinstance(value, tuple):
        raise TypeError(f"Argument '{name}' has incorrect type (expected tuple, got {type(value).__name__})")
