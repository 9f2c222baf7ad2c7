"""Calling a CUDA kernel with arguments that fit its declaration.

CuPy passes whatever it is given: a Python ``int`` as 64 bits, a ``float`` as double, an array without regard to its
strides or type.  A kernel that expects otherwise reads foreign memory.  So here every argument is compared with, or
turned into, what the kernel's own declaration says.
"""

import threading
from numbers import Integral, Real

import numpy as np

from minidl.device import array_library, device_of
from minidl.kernels.cuda.source import signatures, source_text

THREADS = 256  # in a block of an elementwise kernel
# What the numbers in arrays are (``storage``), in which type the kernel computes (``real``): see real.cuh.
REAL = {"float16": np.float32, "float32": np.float32, "float64": np.float64}
SCALARS = {"int": np.int32, "unsigned": np.uint32, "float": np.float32, "double": np.float64, "bool": np.bool_}


class Source:
    """A ``.cu`` file, compiled for each device and type of numbers when it is first needed."""

    def __init__(self, file):
        self.file = file
        self._kernels = {}  # {(device, storage type, kernel): compiled kernel}
        self._lock = threading.Lock()

    def launch(self, name, grid, block, *arguments, shared_bytes=0):
        """Run a kernel: ``grid`` blocks (a number or up to three) of ``block`` threads (likewise).

        arguments: arrays of one device, None for a null pointer, numbers; in the order of the declaration.  A pointer
        to ``storage`` takes float16, float32 or float64 and decides for which the file is compiled; ``real`` is then
        the type computed in.  Raises TypeError or ValueError for arguments that do not fit.
        """
        parameters = signatures(self.file)[name]
        if len(arguments) != len(parameters):
            raise TypeError(f"{name} takes {len(parameters)} arguments, not {len(arguments)}")
        storage = _storage(parameters, arguments)
        device = next(device_of(each) for each in arguments if hasattr(each, "__cuda_array_interface__"))
        types = SCALARS | {"storage": storage.type, "real": REAL[storage.name]}
        converted = [_convert(name, *pair, types) for pair in zip(parameters, arguments, strict=True)]
        kernel = self._kernel(device, storage.name, name)
        if shared_bytes > kernel.max_dynamic_shared_size_bytes:
            kernel.max_dynamic_shared_size_bytes = shared_bytes
        kernel(_triple(grid), _triple(block), tuple(converted), shared_mem=shared_bytes)

    def _kernel(self, device, storage, name):
        key = device, storage, name
        with self._lock:
            if key not in self._kernels:
                module = array_library(device).RawModule(code=source_text(self.file), options=options(storage))
                for each in signatures(self.file):
                    self._kernels[device, storage, each] = module.get_function(each)
            return self._kernels[key]


def options(storage):
    """The compiler's options for arrays of a type, such as ``"float32"``."""
    return "-std=c++17", f"-DNUMBER_BITS={np.dtype(storage).itemsize * 8}"


def blocks_for(count, threads=THREADS):
    """How many blocks of ``threads`` give each of ``count`` numbers a thread."""
    return -(-count // threads)


def _triple(size):
    return (size,) if isinstance(size, Integral) else tuple(size)


def _storage(parameters, arguments):
    """The number type of the arrays: that of the first ``storage`` pointer, else of the first ``real`` one."""
    for kind in ("storage", "real"):
        for parameter, argument in zip(parameters, arguments, strict=True):
            if parameter.pointer and parameter.type == kind and argument is not None:
                if argument.dtype.name not in REAL:
                    raise TypeError(f"{parameter.name}: kernels compute in float16, 32 or 64, not {argument.dtype}")
                return np.dtype(argument.dtype)
    return np.dtype(np.float32)


def _convert(kernel, parameter, argument, types):
    """The argument as it must be passed."""
    where = f"{kernel}: {parameter.name}"
    if parameter.pointer:
        return None if argument is None else _checked(argument, types.get(parameter.type), where)
    if parameter.type not in types:  # a struct, as a NumPy array of one element with named fields
        return argument
    if not isinstance(argument, Real | np.generic):
        raise TypeError(f"{where} must be a number, not {argument!r}")
    kind = types[parameter.type]
    if np.issubdtype(kind, np.integer) and not np.iinfo(kind).min <= argument <= np.iinfo(kind).max:
        raise ValueError(f"{where} is {argument}: too large an array for one launch; use a smaller batch")
    return kind(argument)


def _checked(array, kind, where):
    if not hasattr(array, "__cuda_array_interface__"):
        raise TypeError(f"{where} must be an array on the GPU, not {type(array).__name__}")
    if not array.flags.c_contiguous:
        raise ValueError(f"{where} must be contiguous")
    if kind is not None and array.dtype != kind:
        raise TypeError(f"{where} must be {np.dtype(kind).name}, not {array.dtype}")
    return array
