"""Which array library an array belongs to, and on which device a run takes place.

This is the only module that knows of CuPy.  Everything else asks :func:`array_module` for the
library of the arrays it was given, or :func:`kernels_for` for the kernels that fit them.

There are three devices: ``cpu`` (NumPy arrays), ``cuda`` (an NVIDIA GPU; CuPy arrays) and ``emulated`` (the GPU's
kernels, run on the CPU thread by thread; arrays of the emulator's stand-in for CuPy).
"""

import importlib
import shutil
import sys

import numpy as np

DEVICES = ("auto", "cpu", "cuda", "emulated")
STAND_IN = "minidl.kernels.cuda.emulator.stand_in"


class DeviceError(RuntimeError):
    """The device asked for cannot be used here; the message says why and what to do."""


def array_module(array):
    """The library whose functions work on ``array``: ``numpy``, ``cupy``, or the emulator's stand-in for it."""
    return array_library(device_of(array))


def device_of(array):
    """The device on which an array lies: ``cpu``, ``cuda`` or ``emulated``."""
    if isinstance(array, np.ndarray) or not hasattr(array, "__cuda_array_interface__"):
        return "cpu"
    return "emulated" if type(array).__module__.startswith(STAND_IN) else "cuda"


def array_library(device):
    """The library of a device's arrays, by the device's name."""
    if device == "cpu":
        return np
    return importlib.import_module(STAND_IN if device == "emulated" else "cupy")


def kernels_for(array):
    """The package of hand-written kernels that work on ``array``: the one decision about devices."""
    name = "minidl.kernels.cpu" if device_of(array) == "cpu" else "minidl.kernels.cuda"
    return importlib.import_module(name)


def to_device(array, device):
    """``array`` on ``device``: itself if it is there already, else a copy."""
    if device_of(array) == device:
        return array
    array = to_cpu(array)
    return array if device == "cpu" else array_library(device).asarray(array)


def to_cpu(array):
    """``array`` as a NumPy array: itself if it is one, else a copy."""
    return array if device_of(array) == "cpu" else array.get()


def resolve_device(name):
    """The device to use for a request of ``auto`` (a GPU if there is one), ``cpu``, ``cuda`` or ``emulated``.

    Raises DeviceError where the request cannot be met: never a silent step down to another device.
    """
    if name not in DEVICES:
        raise DeviceError(f"unknown device {name!r}: choose one of {', '.join(DEVICES)}")
    if name == "auto":
        return "cpu" if _cuda_problem() else "cuda"
    problem = {"cpu": _no_problem, "cuda": _cuda_problem, "emulated": _emulator_problem}[name]()
    if problem:
        raise DeviceError(f"device {name!r}: {problem}")
    return name


def _no_problem():
    return None


def _cuda_problem():
    """What keeps this machine from computing on a GPU; None where nothing does."""
    try:
        cupy = importlib.import_module("cupy")
    except ImportError as error:
        return f"CuPy cannot be imported ({error}): pip install 'yolov3-from-scratch[cuda13]' (or [cuda12])"
    try:
        count = cupy.cuda.runtime.getDeviceCount()
    except cupy.cuda.runtime.CUDARuntimeError as error:
        return f"no NVIDIA driver answers ({error}): install one, or use --device emulated or cpu"
    return None if count else "no NVIDIA GPU is visible: use --device emulated or cpu"


def _emulator_problem():
    """What keeps this machine from emulating a GPU; None where nothing does."""
    if not sys.platform.startswith("linux"):
        return "the emulator runs on Linux only (on Windows: in WSL; on a Mac: in a container)"
    if shutil.which("g++"):
        return None
    return "the emulator compiles CUDA kernels with g++, which is not installed (Debian, Ubuntu: apt install g++)"
