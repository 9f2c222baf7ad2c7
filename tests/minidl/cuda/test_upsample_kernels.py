"""Upsampling on a GPU, nearest and bilinear."""

import numpy as np
import pytest

from minidl.device import to_cpu
from minidl.kernels.cuda import upsample
from tests.minidl import naive
from tests.minidl.cuda.maps import (
    DTYPES,
    assert_only_the_slice_is_written,
    assert_result,
    channel_slice,
    empty_map,
    in_every_order,
    on_device,
    rounded,
)
from tests.minidl.harness import numbers

SHAPES = [(2, 3, 4, 2), (1, 1, 5, 4), (1, 2, 1, 1), (1, 1, 1, 3), (2, 7, 5, 8)]
FORWARD = {"nearest": upsample.upsample_nearest, "bilinear": upsample.upsample_bilinear}
BACKWARD = {"nearest": upsample.upsample_nearest_grad, "bilinear": upsample.upsample_bilinear_grad}
ORACLES = {"nearest": naive.upsample_nearest, "bilinear": naive.upsample_bilinear}
modes = pytest.mark.parametrize("mode", FORWARD)


def transposed(mode, x_shape, grad, factor):
    """The gradient by the matrix of the oracle: its product with every input that is 1 in one place."""
    dx = np.zeros(x_shape)
    for row, column in np.ndindex(x_shape[1:3]):
        one = np.zeros((1, *x_shape[1:3], 1))
        one[0, row, column] = 1
        dx[:, row, column] = (ORACLES[mode](one, factor) * grad).sum(axis=(1, 2))
    return dx


@modes
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("factor", [1, 2, 3])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_both_directions(shape, factor, mode, dtype, gpu_device):
    x = rounded(numbers(*shape), dtype)
    y = FORWARD[mode](on_device(x, gpu_device, dtype), factor)
    wanted = ORACLES[mode](x, factor)
    assert_result(y, wanted, gpu_device, dtype, "y")
    grad = rounded(numbers(*wanted.shape, seed=1), dtype)
    dx = BACKWARD[mode](on_device(grad, gpu_device, dtype), factor)
    assert_result(dx, transposed(mode, shape, grad, factor), gpu_device, dtype, "dx")


@modes
def test_more_than_one_block_and_gaps_in_memory(mode, gpu_device):
    x, grad = numbers(2, 13, 9, 12), numbers(2, 26, 18, 12, seed=1)
    y = FORWARD[mode](on_device(x, gpu_device, "float32", strided=True), 2)
    assert_result(y, ORACLES[mode](x, 2), gpu_device, "float32", "y")
    dx = BACKWARD[mode](on_device(grad, gpu_device, "float32", strided=True), 2)
    assert_result(dx, transposed(mode, x.shape, grad, 2), gpu_device, "float32", "dx")


def test_by_hand(gpu_device):
    x = on_device(np.reshape([0.0, 4.0], (1, 1, 2, 1)), gpu_device, "float32")
    y = upsample.upsample_bilinear(x, 2)
    np.testing.assert_array_equal(to_cpu(y)[0, :, :, 0], [[0, 1, 3, 4], [0, 1, 3, 4]])
    # 0 has the weights 1, 3/4, 1/4 and 0 in each row.
    grad = on_device(np.reshape([1.0, 10, 100, 1000] * 2, y.shape), gpu_device, "float32")
    dx = upsample.upsample_bilinear_grad(grad, 2)
    np.testing.assert_array_equal(to_cpu(dx)[0, 0, :, 0], [2 * (1 + 7.5 + 25), 2 * (2.5 + 75 + 1000)])
    dx = upsample.upsample_nearest_grad(grad, 2)
    np.testing.assert_array_equal(to_cpu(dx)[0, 0, :, 0], [22, 2200])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("channels", "before"), [(8, 4), (8, 1), (3, 4)])
def test_nearest_from_a_slice_to_a_slice(channels, before, dtype, gpu_device):
    x = rounded(numbers(2, 3, 5, channels), dtype)
    wanted = naive.upsample_nearest(x, 2)
    larger, y = channel_slice(np.full(wanted.shape, np.nan), gpu_device, dtype, before, 4)
    upsample.upsample_nearest_into(channel_slice(x, gpu_device, dtype, 4, 4)[1], 2, y)
    assert_only_the_slice_is_written(larger, before, wanted, dtype)


@modes
def test_every_order_of_threads(mode, gpu_device):
    x, grad = numbers(1, 7, 5, 12), numbers(1, 21, 15, 12, seed=1)
    x, grad = (on_device(each, gpu_device, "float32") for each in (x, grad))
    in_every_order(lambda: (FORWARD[mode](x, 3), BACKWARD[mode](grad, 3)))


@modes
def test_no_numbers(mode, gpu_device):
    y = FORWARD[mode](empty_map(gpu_device, 0, 3, 4, 8), 2)
    assert y.shape == (0, 6, 8, 8)
    assert BACKWARD[mode](y, 2).shape == (0, 3, 4, 8)
