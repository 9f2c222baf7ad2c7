"""Bias, leaky ReLU and residual on blocks, as they follow a convolution."""

from itertools import product

import numpy as np
import pytest

from minidl.kernels.cpu.epilogue import Epilogue, activate, add_and_store, add_bias, store
from tests.minidl import naive
from tests.minidl.harness import layouts, numbers


@pytest.mark.parametrize("pixels", [1, 3, 64, 1000])
@pytest.mark.parametrize("channels", [1, 2, 255, 600])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_bias_is_added_to_every_pixel(pixels, channels, dtype):
    values, bias = numbers(pixels, channels).astype(dtype), numbers(channels, seed=1).astype(dtype)
    wanted = np.array([[values[p, c] + bias[c] for c in range(channels)] for p in range(pixels)])
    add_bias(values, bias)
    np.testing.assert_array_equal(values, wanted)
    assert values.dtype == dtype


@pytest.mark.parametrize("slope", [0, 0.1, 0.5, 1])
def test_activation(slope):
    values = np.array([[-2.0, -0.5, 0.0], [0.25, 3.0, -10.0]])
    activate(values, slope)
    np.testing.assert_array_equal(values, [[-2 * slope, -0.5 * slope, 0], [0.25, 3, -10 * slope]])


def test_values_by_hand():
    target = np.empty(4)
    store(np.array([2.0, -2.0, -2.0, 1.0]), target, Epilogue(np.zeros(1), 0.5, 0.1), np.array([1.0, 0.5, 3.0, -2.0]))
    np.testing.assert_allclose(target, [3, -0.05, 2, -0.1])  # 2 + 1, 0.1 (-1 + 0.5), -1 + 3, 0.1 (1 - 2)
    add_and_store(np.array([2.0, -2.0]), target[:2], Epilogue(np.zeros(1), 0.5, 0.1), np.array([1.0, 0.5]))
    np.testing.assert_allclose(target[:2], [3, -0.15])  # the first slope is no longer applied


@pytest.mark.parametrize("with_residual", [False, True])
@pytest.mark.parametrize(("slope", "final_slope"), list(product([0, 0.1, 1], repeat=2)))
def test_every_combination_writes_to_any_strides(with_residual, slope, final_slope):
    values = numbers(2, 3, 4)
    residual = numbers(2, 3, 4, seed=1) if with_residual else None
    after_first = naive.leaky_relu(values, slope)
    wanted = naive.leaky_relu(after_first + (residual if with_residual else 0), final_slope)
    epilogue = Epilogue(np.zeros(4), slope, final_slope)
    for name, target in layouts(np.full(values.shape, np.nan)):
        given = None if residual is None else dict(layouts(residual))[name]
        store(values.copy(), target, epilogue, given)
        np.testing.assert_allclose(target, wanted, rtol=1e-15, atol=0, err_msg=name)
        if with_residual:
            np.testing.assert_array_equal(given, residual, err_msg="the residual was changed")
    for name, source in layouts(after_first):
        target = np.empty_like(wanted)
        add_and_store(source, target, epilogue, residual)
        np.testing.assert_allclose(target, wanted, rtol=1e-15, atol=0, err_msg=name)


def test_what_is_no_number_stays_no_number():
    target = np.empty(2, np.float32)
    store(np.array([np.nan, -np.inf], np.float32), target, Epilogue(np.zeros(1, np.float32), 0.1, 0.5))
    assert np.isnan(target[0])
    assert target[1] == -np.inf
