"""Leaky ReLU on a GPU, and the sum of two maps with it."""

import numpy as np
import pytest

from minidl.device import array_library, to_cpu
from minidl.kernels.cuda.activation import add_into, leaky_relu, leaky_relu_grad
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

SHAPES = [(7,), (8,), (2, 5, 3, 4), (3, 1, 1001), (2, 600)]  # packs of 1 and of 4, one block and several


@pytest.mark.parametrize("strided", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_both_directions(shape, dtype, strided, gpu_device):
    x, grad = rounded(distinct(*shape), dtype), rounded(numbers(*shape, seed=1), dtype)
    y = leaky_relu(on_device(x, gpu_device, dtype, strided), 0.1)
    assert_result(y, naive.leaky_relu(x, 0.1), gpu_device, dtype, "y")
    dx = leaky_relu_grad(on_device(grad, gpu_device, dtype, strided), y, 0.1)
    assert_result(dx, np.where(x > 0, grad, 0.1 * grad), gpu_device, dtype, "dx")


def test_by_hand_and_at_zero(gpu_device):
    y = leaky_relu(on_device([-2, 0, 3, -0.0], gpu_device, "float32"), 0.5)
    np.testing.assert_array_equal(to_cpu(y), [-1, 0, 3, 0])
    dx = leaky_relu_grad(on_device([10, 10, 10, 10], gpu_device, "float32"), y, 0.5)
    np.testing.assert_array_equal(to_cpu(dx), [5, 5, 10, 5])


@pytest.mark.parametrize("dtype", DTYPES)
def test_an_address_that_no_pack_can_be_read_from(dtype, gpu_device):
    x = distinct(9)
    x_from_1 = on_device(x, gpu_device, dtype)[1:]
    assert_result(leaky_relu(x_from_1, 0.1), naive.leaky_relu(rounded(x, dtype)[1:], 0.1), gpu_device, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("channels", "before"), [(8, 4), (8, 3), (5, 2)])
def test_sum_of_slices(channels, before, dtype, gpu_device):
    a, b = (rounded(numbers(2, 9, 8, channels, seed=seed), dtype) for seed in (1, 2))
    larger, y = channel_slice(np.full(a.shape, np.nan), gpu_device, dtype, before, 4)
    device_b = channel_slice(b, gpu_device, dtype, 4, 8)[1]
    add_into(on_device(a, gpu_device, dtype), device_b, y, 0.25)  # a quarter is exact
    real = np.float64 if dtype == "float64" else np.float32
    total = a.astype(real) + b.astype(real)
    assert_only_the_slice_is_written(larger, before, np.where(total > 0, total, total / 4), dtype)


def test_every_order_of_threads(gpu_device):
    x, grad = (on_device(numbers(3, 700, seed=seed), gpu_device, "float32") for seed in (1, 2))
    in_every_order(lambda: (leaky_relu(x, 0.1), leaky_relu_grad(grad, x, 0.1)))


def test_no_numbers(gpu_device):
    x = empty_map(gpu_device, 0, 3, 4, 8)
    assert leaky_relu(x, 0.1).shape == leaky_relu_grad(x, x, 0.1).shape == x.shape
    add_into(x, x, array_library(gpu_device).empty(x.shape, "float32"), 0.1)
