"""What a GPU asks of a program: few copies to it and from it, a precision to compute in, and enough of its memory."""

from contextlib import contextmanager
from functools import lru_cache

import numpy as np

from minidl import cuda_settings
from minidl.device import array_library, array_module, device_of, resolve_device, to_cpu
from yolov3.errors import UserError

PRECISIONS = ("fp32", "tf32", "fp16")


def choose_device(device, precision="fp32"):
    """The device meant by ``auto``, ``cpu``, ``cuda`` or ``emulated``, if it can compute in this precision.

    Raises DeviceError for a device that is not there, UserError for a precision that the CPU does not have.
    """
    device = resolve_device(device)
    if precision not in PRECISIONS:
        raise UserError(f"unknown precision {precision!r}: choose one of {', '.join(PRECISIONS)}")
    if device == "cpu" and precision != "fp32":
        raise UserError(f"precision {precision} is for GPUs: on the CPU leave out --precision, or choose a --device")
    return device


def computing_in(precision):
    """Within ``with computing_in("tf32"):`` a GPU's convolutions are computed so; ``fp16`` follows from the images."""
    return cuda_settings(precision="tf32" if precision == "tf32" else "fp32")


def image_type(precision):
    """The type of numbers that images must have for a network to compute in a precision: maps follow their images."""
    return np.dtype(np.float16 if precision == "fp16" else np.float32)


@contextmanager
def enough_memory(device, batch, image_size):
    """Turn a lack of memory into a UserError that says for what: ``image_size`` is (height, width)."""
    try:
        yield
    except MemoryError as error:  # CuPy's is one, too
        memory = "this computer" if device == "cpu" else "the GPU"
        smaller = f"--batch {batch // 2} or a smaller --imgsz" if batch > 1 else "a smaller --imgsz"
        raise UserError(
            f"{memory} has not enough memory for batch {batch} at {image_size[0]}x{image_size[1]}: try {smaller}"
        ) from error


def constant(values, like):
    """Numbers as an array of the device and type of ``like``, not to be changed.

    It is kept, because on a GPU it would be copied there again in each step.
    """
    values = np.asarray(values, np.float64)
    return _constant(values.tobytes(), values.shape, like.dtype, device_of(like))


@lru_cache(maxsize=256)
def _constant(numbers, shape, dtype, device):
    values = np.frombuffer(numbers, np.float64).reshape(shape).astype(dtype)
    values.flags.writeable = False
    return array_library(device).asarray(values)


def to_cpu_together(*arrays):
    """NumPy arrays with the values of several, brought from a GPU in one copy, since each copy waits for all its work.

    From a GPU they come as float32.
    """
    if device_of(arrays[0]) == "cpu":
        return arrays
    xp = array_module(arrays[0])
    flat = to_cpu(xp.concatenate([each.reshape(-1).astype(np.float32) for each in arrays]))
    ends = np.cumsum([each.size for each in arrays])
    parts = np.split(flat, ends[:-1])
    return tuple(part.reshape(each.shape) for part, each in zip(parts, arrays, strict=True))
