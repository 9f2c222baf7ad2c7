"""What the tests of kernels on maps share: arrays on a device in every memory layout, and slices of larger maps."""

import numpy as np

from minidl.device import array_library, device_of, to_cpu, to_device
from minidl.kernels.cuda.emulator import thread_order
from tests.minidl.harness import assert_close

DTYPES = ("float32", "float64", "float16")
# Relative to the largest number expected.  float16 has 11 bits: what is written is rounded by 2^-11 at most.
TOLERANCES = {"float16": 2**-11, "float32": 2e-6, "float64": 1e-13}
ORDERS = (0, 1, 7)  # of the emulator's threads: forwards, backwards, random


def rounded(array, dtype):
    """The numbers as a type holds them, as float64, for oracles."""
    return np.asarray(array).astype(dtype).astype(np.float64)


def on_device(array, device, dtype, strided=False):
    """The array on a device, contiguous or with gaps of NaN in every axis."""
    array = np.asarray(array).astype(dtype)
    if not strided:
        return to_device(np.ascontiguousarray(array), device)
    gaps = np.full([2 * size + 1 for size in array.shape], np.nan, dtype)
    places = tuple(slice(1, None, 2) for _ in array.shape)
    gaps[places] = array
    return to_device(gaps, device)[places]


def channel_slice(array, device, dtype, before, after):
    """A map as a slice of a larger one with so many channels of NaN before and after it: (larger map, slice)."""
    array = np.asarray(array).astype(dtype)
    larger = np.pad(array, [(0, 0)] * 3 + [(before, after)], constant_values=np.nan)
    larger = to_device(larger, device)
    return larger, larger[..., before : before + array.shape[3]]


def assert_only_the_slice_is_written(larger, before, wanted, dtype):
    """The slice holds what is wanted, exactly as rounded, and the channels beside it still hold NaN."""
    found, after = to_cpu(larger), before + wanted.shape[3]
    np.testing.assert_array_equal(found[..., before:after], wanted.astype(dtype))
    assert np.isnan(found[..., :before]).all()
    assert np.isnan(found[..., after:]).all()


def assert_result(found, wanted, device, dtype, what="", factor=1):
    """A contiguous array of a type on a device that holds what is wanted to ``factor`` times the type's tolerance."""
    assert device_of(found) == device, what
    assert found.dtype == dtype, what
    assert found.flags.c_contiguous, what
    assert_close(to_cpu(found).astype(np.float64), wanted, factor * TOLERANCES[np.dtype(dtype).name], what)


def empty_map(device, *shape):
    """An array on a device that holds no numbers."""
    return array_library(device).empty(shape, "float32")


def in_every_order(compute):
    """``compute()`` in three orders of the emulator's threads: bit for bit the same arrays; returns them on the CPU."""
    results = []
    for order in ORDERS:
        with thread_order(order):
            results.append([to_cpu(each) for each in compute()])
    for other in results[1:]:
        for one, another in zip(results[0], other, strict=True):
            np.testing.assert_array_equal(one, another)
    return results[0]
