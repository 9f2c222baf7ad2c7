"""Concatenation and copies into slices of channels on a GPU."""

import numpy as np
import pytest

from minidl.device import to_cpu
from minidl.kernels.cuda.concat import concat, concat_grad, copy_into
from tests.minidl import naive
from tests.minidl.cuda.maps import (
    DTYPES,
    assert_only_the_slice_is_written,
    channel_slice,
    empty_map,
    in_every_order,
    on_device,
    rounded,
)
from tests.minidl.harness import numbers


@pytest.mark.parametrize("strided", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("channels", [(3,), (8, 4), (4, 2, 8), (1, 4, 2, 130)])
@pytest.mark.parametrize("leading", [(2, 3, 5), (4,)])
def test_both_directions(channels, leading, dtype, strided, gpu_device):
    arrays = [numbers(*leading, count, seed=count).astype(dtype) for count in channels]
    y = concat([on_device(each, gpu_device, dtype, strided) for each in arrays])
    assert y.flags.c_contiguous
    wanted = naive.concat(*arrays)
    np.testing.assert_array_equal(to_cpu(y), wanted.astype(dtype))
    parts = concat_grad(on_device(wanted, gpu_device, dtype, strided), channels)
    for part, array in zip(parts, arrays, strict=True):
        assert part.flags.c_contiguous
        np.testing.assert_array_equal(to_cpu(part), array)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("channels", "before"), [(8, 4), (8, 1), (3, 4)])
@pytest.mark.parametrize("size", [(2, 9, 8), (3, 1, 1), (1, 1, 1)], ids=str)
def test_copy_from_a_slice_to_a_slice(size, channels, before, dtype, gpu_device):
    x = rounded(numbers(*size, channels), dtype)
    larger, y = channel_slice(np.full(x.shape, np.nan), gpu_device, dtype, before, 4)
    copy_into(channel_slice(x, gpu_device, dtype, 4, 4)[1], y)
    assert_only_the_slice_is_written(larger, before, x, dtype)


def test_maps_whose_pixels_do_not_lie_in_order_are_refused(gpu_device):
    x = on_device(numbers(2, 3, 3, 4), gpu_device, "float32")
    with pytest.raises(ValueError, match="do not lie in order"):
        copy_into(x, x[:, ::-1])


def test_every_order_of_threads(gpu_device):
    arrays = [on_device(numbers(5, 7, count), gpu_device, "float32") for count in (16, 7)]
    in_every_order(lambda: [concat(arrays), *concat_grad(arrays[0], (12, 4))])


def test_no_numbers(gpu_device):
    x = empty_map(gpu_device, 0, 3, 4, 8)
    assert concat([x, x]).shape == (0, 3, 4, 16)
    assert [part.shape for part in concat_grad(x, (3, 5))] == [(0, 3, 4, 3), (0, 3, 4, 5)]
