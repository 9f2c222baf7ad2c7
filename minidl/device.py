"""Which array library an array belongs to, and on which device a run takes place.

This is the only module that knows of CuPy.  Everything else asks :func:`array_module` for the
library of the arrays it was given, or :func:`kernels_for` for the kernels that fit them.
"""

import importlib

import numpy as np

DEVICES = ("auto", "cpu", "cuda")


class DeviceError(RuntimeError):
    """The device asked for cannot be used here; the message says why and what to do."""


def array_module(array):
    """The library whose functions work on ``array``: ``numpy``, or ``cupy`` for an array on a GPU."""
    if isinstance(array, np.ndarray) or not hasattr(array, "__cuda_array_interface__"):
        return np
    return importlib.import_module("cupy")


def kernels_for(array):
    """The package of hand-written kernels that work on ``array``: the one decision about devices."""
    if array_module(array) is not np:
        raise DeviceError("minidl's kernels work on NumPy arrays; move this array to the CPU first")
    return importlib.import_module("minidl.kernels.cpu")


def resolve_device(name):
    """The device to use for a request of ``auto``, ``cpu`` or ``cuda``.

    Raises DeviceError where the request cannot be met: never a silent step down to another device.
    """
    if name not in DEVICES:
        raise DeviceError(f"unknown device {name!r}: choose one of {', '.join(DEVICES)}")
    if name == "cuda":
        raise DeviceError("device 'cuda': this version of minidl computes on the CPU only; use --device cpu")
    return "cpu"
