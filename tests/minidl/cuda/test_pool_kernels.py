"""Max pooling and global average pooling on a GPU."""

import numpy as np
import pytest

from minidl.device import to_cpu
from minidl.kernels.cuda import pool
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
from tests.minidl.harness import distinct, numbers

WINDOWS = [  # size, stride, padding
    (2, 1, 1),
    (2, 2, 1),
    (2, 2, 0),
    (3, 2, 2),
    (5, 1, 4),
    (3, 1, 0),
    (3, 2, 1),
    (3, 1, 4),
    (2, 3, 0),
    (1, 1, 0),
]
SHAPES = [(2, 5, 7, 2), (1, 6, 4, 4), (1, 3, 3, 1)]


def check_maxpool(x, window, device, dtype, strided=False):
    x = rounded(x, dtype)
    wanted = naive.maxpool2d(x, *window)
    y = pool.maxpool2d(on_device(x, device, dtype, strided), *window)
    assert_result(y, wanted, device, dtype, "y")
    grad = rounded(numbers(*wanted.shape, seed=1), dtype)
    arrays = [on_device(each, device, dtype, strided) for each in (grad, x, wanted)]
    dx = pool.maxpool2d_grad(*arrays, *window)
    assert_result(dx, naive.maxpool2d(x, *window, grad), device, dtype, "dx")


@pytest.mark.parametrize("window", WINDOWS, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_maxpool(shape, window, gpu_device):
    check_maxpool(distinct(*shape), window, gpu_device, "float64")


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("window", [(2, 2, 1), (3, 1, 2)], ids=str)
def test_more_than_one_block_and_gaps_in_memory(window, dtype, gpu_device):
    check_maxpool(numbers(2, 9, 8, 20), window, gpu_device, dtype, strided=True)


@pytest.mark.parametrize("window", [(2, 1, 1), (2, 2, 0), (3, 2, 2), (5, 1, 4)], ids=str)
def test_many_equal_values(window, gpu_device):
    x = np.random.default_rng(0).integers(-1, 2, (2, 7, 8, 4))
    check_maxpool(x, window, gpu_device, "float32")


def test_the_first_of_equal_values_receives_the_gradient(gpu_device):
    x, y = (on_device(np.zeros((1, side, side, 1)), gpu_device, "float32") for side in (3, 2))
    grad = on_device(np.reshape([1.0, 10, 100, 1000], (1, 2, 2, 1)), gpu_device, "float32")
    dx = pool.maxpool2d_grad(grad, x, y, 2, 1, 0)
    np.testing.assert_array_equal(to_cpu(dx)[0, :, :, 0], [[1, 10, 0], [100, 1000, 0], [0, 0, 0]])


@pytest.mark.parametrize("dtype", DTYPES)
def test_nan_wins_wherever_it_stands_and_infinities_count(dtype, gpu_device):
    x = np.zeros((1, 3, 3, 4))
    x[0, 1, 1] = np.nan, np.inf, -np.inf, -1
    device_x = on_device(x, gpu_device, dtype)
    y = pool.maxpool2d(device_x, 2, 1, 0)
    np.testing.assert_array_equal(to_cpu(y)[0, 0, 0], [np.nan, np.inf, 0, 0])
    dx = pool.maxpool2d_grad(on_device(np.ones(y.shape), gpu_device, dtype), device_x, y, 2, 1, 0)
    np.testing.assert_array_equal(to_cpu(dx)[0, 1, 1], [4, 4, 0, 0])
    lowest = on_device(np.full((1, 2, 2, 1), -np.inf), gpu_device, dtype)
    assert to_cpu(pool.maxpool2d(lowest, 2, 1, 1)).max() == -np.inf


def test_the_first_nan_of_several_receives_the_gradient(gpu_device):
    x = on_device(np.reshape([1, np.nan, np.nan, 5], (1, 2, 2, 1)), gpu_device, "float32")
    grad, y = (on_device(np.reshape(value, (1, 1, 1, 1)), gpu_device, "float32") for value in (3, np.nan))
    np.testing.assert_array_equal(to_cpu(pool.maxpool2d_grad(grad, x, y, 2, 2, 0))[0, :, :, 0], [[0, 3], [0, 0]])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("channels", "before"), [(8, 4), (8, 1), (3, 4)])
def test_maxpool_from_a_slice_to_a_slice(channels, before, dtype, gpu_device):
    x = rounded(numbers(2, 5, 4, channels), dtype)
    wanted = naive.maxpool2d(x, 3, 1, 2)
    larger, y = channel_slice(np.full(wanted.shape, np.nan), gpu_device, dtype, before, 4)
    pool.maxpool2d_into(channel_slice(x, gpu_device, dtype, 4, 4)[1], 3, 1, 2, y)
    assert_only_the_slice_is_written(larger, before, wanted, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("strided", [False, True])
@pytest.mark.parametrize("shape", [(2, 3, 5, 4), (1, 1, 1, 3), (3, 7, 6, 70)], ids=str)
def test_global_average_pool(shape, strided, dtype, gpu_device):
    batch, height, width, channels = shape
    x, grad = rounded(numbers(*shape), dtype), rounded(numbers(batch, channels, seed=1), dtype)
    means = [[x[n, :, :, c].sum() / (height * width) for c in range(channels)] for n in range(batch)]
    y = pool.global_average_pool(on_device(x, gpu_device, dtype, strided))
    assert_result(y, np.array(means), gpu_device, dtype, "y")
    dx = pool.global_average_pool_grad(on_device(grad, gpu_device, dtype, strided), (height, width))
    share = np.zeros(shape)
    for n, i, j in np.ndindex(shape[:3]):
        share[n, i, j] = grad[n] / (height * width)
    assert_result(dx, share, gpu_device, dtype, "dx")


def test_every_order_of_threads(gpu_device):
    x = on_device(numbers(2, 7, 6, 36), gpu_device, "float32")

    def compute():
        y = pool.maxpool2d(x, 3, 1, 2)
        mean = pool.global_average_pool(x)
        return y, pool.maxpool2d_grad(x, x, y, 3, 1, 2), mean, pool.global_average_pool_grad(mean, (7, 6))

    in_every_order(compute)


def test_no_numbers(gpu_device):
    x = empty_map(gpu_device, 0, 6, 4, 8)
    y = pool.maxpool2d(x, 2, 2, 0)
    assert y.shape == (0, 3, 2, 8)
    assert pool.maxpool2d_grad(y, x, y, 2, 2, 0).shape == x.shape
    assert pool.global_average_pool(x).shape == (0, 8)
    assert pool.global_average_pool_grad(empty_map(gpu_device, 0, 8), (6, 4)).shape == x.shape
