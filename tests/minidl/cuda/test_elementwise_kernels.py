"""Sums and sigmoid of every number of an array on a GPU, against NumPy in float64."""

import math

import numpy as np
import pytest

from minidl.device import to_cpu
from minidl.kernels.cuda.elementwise import add, sigmoid, sigmoid_grad, weighted_sum
from tests.minidl.cuda.maps import DTYPES, assert_result, empty_map, in_every_order, on_device, rounded
from tests.minidl.harness import numbers

SHAPES = [(), (7,), (256,), (2, 5, 3, 4), (3, 1, 301)]  # one block, exactly one, and several


@pytest.mark.parametrize("strided", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES[1:], ids=str)
def test_add(shape, dtype, strided, gpu_device):
    a, b = (rounded(numbers(*shape, seed=seed), dtype) for seed in (1, 2))
    y = add(*(on_device(each, gpu_device, dtype, strided) for each in (a, b)))
    assert_result(y, a + b, gpu_device, dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_weighted_sum(dtype, gpu_device):
    a, b = (rounded(numbers(300, seed=seed), dtype) for seed in (1, 2))
    y = weighted_sum(on_device(a, gpu_device, dtype), on_device(b, gpu_device, dtype, strided=True), 0.75, -2)
    assert_result(y, 0.75 * a - 2 * b, gpu_device, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_sigmoid_and_its_gradient(shape, dtype, gpu_device):
    x, grad = rounded(5 * numbers(*shape), dtype), rounded(numbers(*shape, seed=1), dtype)
    y = sigmoid(on_device(x, gpu_device, dtype, strided=True))
    wanted = np.vectorize(lambda value: 1 / (1 + math.exp(-value)))(x)
    assert_result(y, wanted, gpu_device, dtype)
    dx = sigmoid_grad(on_device(grad, gpu_device, dtype, strided=True), y)
    assert_result(dx, grad * wanted * (1 - wanted), gpu_device, dtype, factor=4)


@pytest.mark.parametrize("dtype", DTYPES)
def test_sigmoid_at_the_ends(dtype, gpu_device):
    y = sigmoid(on_device([-1000, 0, 1000, np.nan], gpu_device, dtype))
    np.testing.assert_array_equal(to_cpu(y), [0, 0.5, 1, np.nan])


def test_every_order_of_threads(gpu_device):
    a, b = (on_device(numbers(3, 300, seed=seed), gpu_device, "float32") for seed in (1, 2))
    in_every_order(lambda: (add(a, b), weighted_sum(a, b, 2, 3), sigmoid(a), sigmoid_grad(a, b)))


def test_no_numbers(gpu_device):
    x = empty_map(gpu_device, 0, 3)
    assert add(x, x).shape == sigmoid(x).shape == sigmoid_grad(x, x).shape == (0, 3)
