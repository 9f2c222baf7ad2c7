"""CUDA source, compiled for the CPU, and its kernels: the shape of ``cupy.RawModule`` and ``cupy.RawKernel``."""

import ctypes
import re
import threading

from minidl.kernels.cuda.emulator.arguments import DEFAULT_SHARED_BYTES, MAX_SHARED_BYTES, check_launch, values_of
from minidl.kernels.cuda.emulator.compiler import EmulatorError, compile_library
from minidl.kernels.cuda.emulator.launching import launch, scheduler
from minidl.kernels.cuda.emulator.settings import current_settings
from minidl.kernels.cuda.emulator.translate import translate


class Module:
    """The kernels of a text in CUDA C++.

    options: of these, definitions (``-DNUMBER_BITS=32``) are used.  ``#line`` directives in the text name files and
    lines in messages; without, it is ``kernel.cu``.  Raises EmulatorError, with g++'s words, for text that is wrong.
    """

    def __init__(self, code, options=()):
        self._text, self._kernels = translate(code)
        self._definitions = [option for option in options if option.startswith("-D")]
        named = re.search(r'^#line 1 "([^"]+)"', code, re.M)
        self._file = named[1] if named else "kernel.cu"  # for g++'s messages
        self._libraries = {}  # {checked: library}
        self._lock = threading.Lock()
        self.library(current_settings().checked)

    def get_function(self, name):
        """The kernel of that name; it must be ``extern "C" __global__``."""
        if name not in self._kernels:
            others = ", ".join(self._kernels)
            raise EmulatorError(f'no extern "C" __global__ function is named {name}; there are: {others}')
        return Kernel(self, name, self._kernels[name])

    def library(self, checked):
        """The loaded library; the one with checks is compiled when it is first needed."""
        with self._lock:
            if checked not in self._libraries:
                scheduler()
                path = compile_library(self._text, self._file, self._definitions, checked)
                self._libraries[checked] = ctypes.CDLL(str(path))
            return self._libraries[checked]


class Kernel:
    """A function that a grid of thread blocks runs."""

    def __init__(self, module, name, parameters):
        self.name = name
        self.parameters = parameters  # their names
        self._module = module
        self._shared_limit = DEFAULT_SHARED_BYTES
        signature = getattr(module.library(current_settings().checked), f"{name}_signature")
        signature.restype = ctypes.c_char_p
        self._types = signature().decode().split(",")[:-1]

    @property
    def max_dynamic_shared_size_bytes(self):
        """How much dynamic shared memory a launch may ask for: 48 KB, or more if it is set, up to 227 KB."""
        return self._shared_limit

    @max_dynamic_shared_size_bytes.setter
    def max_dynamic_shared_size_bytes(self, size):
        if not 0 <= size <= MAX_SHARED_BYTES:
            raise EmulatorError(f"{self.name}: {size} bytes of shared memory; a block has at most {MAX_SHARED_BYTES}")
        self._shared_limit = int(size)

    def __call__(self, grid, block, args, shared_mem=0):
        """Run ``grid`` blocks of ``block`` threads (sizes x, y, z) on NumPy arrays, None (null) and NumPy scalars.

        Returns when all are done.  What the kernel prints comes out then, as on a GPU.  Raises EmulatorError for
        arguments that do not fit, and for what CUDA forbids: see the package's text.
        """
        grid, block = check_launch(self.name, grid, block, shared_mem, self._shared_limit)
        values, arrays = values_of(self.name, args, self._types, self.parameters)
        pointers = [value.ctypes.data for value in values]
        checked = current_settings().checked
        library = self._module.library(checked)
        problem = launch(library, self.name, grid, block, shared_mem, pointers, arrays, checked)
        if problem:
            raise EmulatorError(f"{self.name}: {problem}")
