"""Leaky ReLU, sigmoid, softmax and log-softmax."""

import math

import numpy as np
import pytest

from minidl import Tensor, get_num_threads, nn, ops, set_num_threads
from minidl.device import to_cpu, to_device
from tests.minidl import naive
from tests.minidl.harness import check_operation, distinct, numbers


@pytest.mark.parametrize("slope", [0.1, 0.0, 0.3])
@pytest.mark.parametrize("shape", [(7,), (2, 5, 3, 4)])
def test_leaky_relu(slope, shape, device):
    check_operation(
        lambda x: ops.leaky_relu(x, slope), [distinct(*shape)], lambda x: naive.leaky_relu(x, slope), device
    )


def test_leaky_relu_slope_at_zero_is_that_of_the_negative_side(device):
    x = Tensor(to_device(np.array([-2.0, 0.0, 3.0]), device), requires_grad=True)
    y = nn.LeakyReLU(0.1)(x)
    y.backward(to_device(np.array([10.0, 10.0, 10.0]), device))
    np.testing.assert_allclose(to_cpu(y.data), [-0.2, 0, 3])
    np.testing.assert_allclose(to_cpu(x.grad), [1, 1, 10])


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_leaky_relu_of_several_chunks_and_threads(threads):
    x = np.random.default_rng(0).standard_normal((3, 70_001)).astype(np.float32)
    before = get_num_threads()
    set_num_threads(threads)
    try:
        tensor = Tensor(x, requires_grad=True)
        y = ops.leaky_relu(tensor)
        y.backward(np.full(x.shape, 2, np.float32))
    finally:
        set_num_threads(before)
    np.testing.assert_allclose(y.data, np.where(x > 0, x, np.float32(0.1) * x), rtol=1e-6)
    np.testing.assert_allclose(tensor.grad, np.where(x > 0, 2, 0.2), rtol=1e-6)


def test_sigmoid(device):
    expected = np.vectorize(lambda value: 1 / (1 + math.exp(-value)))
    check_operation(ops.sigmoid, [4 * numbers(3, 5)], expected, device)


@pytest.mark.parametrize("axis", [-1, 0, 1])
def test_softmax_and_its_logarithm(axis, device):
    def softmax(x):
        powers = np.vectorize(math.exp)(x)
        return powers / powers.sum(axis=axis, keepdims=True)

    x = 2 * numbers(3, 2, 4)
    check_operation(lambda a: ops.softmax(a, axis), [x], softmax, device)
    check_operation(lambda a: ops.log_softmax(a, axis), [x], lambda a: np.vectorize(math.log)(softmax(a)), device)


def test_against_scipy():
    special = pytest.importorskip("scipy.special")
    x = 30 * numbers(4, 6)
    np.testing.assert_allclose(Tensor(x).sigmoid().data, special.expit(x), rtol=1e-13)
    np.testing.assert_allclose(Tensor(x).softmax().data, special.softmax(x, axis=-1), rtol=1e-12)
    np.testing.assert_allclose(Tensor(x).log_softmax().data, special.log_softmax(x, axis=-1), rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.filterwarnings("error")  # an overflow would warn
def test_everything_stays_finite_at_a_thousand(dtype, device):
    values = np.array([[-1000, 0, 1000], [1000, 1000, -1000]], dtype)
    for function in (ops.sigmoid, ops.softmax, ops.log_softmax):
        x = Tensor(to_device(values, device), requires_grad=True)
        y = function(x)
        y.backward(to_device(np.ones(values.shape, dtype), device))
        assert np.isfinite(to_cpu(y.data)).all()
        assert np.isfinite(to_cpu(x.grad)).all()
    np.testing.assert_array_equal(to_cpu(x.sigmoid().data), [[0, 0.5, 1], [1, 1, 0]])
    np.testing.assert_array_equal(to_cpu(x.softmax().data), [[0, 0, 1], [0.5, 0.5, 0]])


@pytest.mark.parametrize("slope", [-0.1, 1.5, float("nan")])
def test_slopes_for_which_the_larger_of_two_is_not_leaky_relu(slope):
    x = Tensor(np.ones((1, 2), np.float32))
    with pytest.raises(ValueError, match="slope must lie between 0 and 1"):
        ops.leaky_relu(x, slope)
    with pytest.raises(ValueError, match="slope must lie between 0 and 1"):
        ops.batchnorm(x, Tensor(np.ones(2)), Tensor(np.zeros(2)), slope=slope)
