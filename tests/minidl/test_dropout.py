"""Dropout: a share of the numbers goes, the rest grows, and only in training."""

import numpy as np
import pytest

from minidl import Tensor, nn
from minidl.device import to_cpu, to_device


def dropout(probability, seed=0):
    return nn.Dropout(probability, np.random.default_rng(seed))


def test_evaluation_changes_nothing():
    x = Tensor(np.ones((2, 3)))
    assert nn.Dropout(0.5).eval()(x) is x


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_in_training_a_share_is_dropped_and_the_rest_grows(dtype, device):
    x = Tensor(to_device(np.ones((100, 100), dtype), device), requires_grad=True)
    y = dropout(0.25)(x)
    assert y.dtype == dtype
    factors = to_cpu(y.data)
    np.testing.assert_array_equal(factors, dropout(0.25)(Tensor(np.ones((100, 100), dtype))).data)  # as on the CPU
    np.testing.assert_allclose(np.unique(factors), [0, 4 / 3], rtol=1e-6)
    assert np.mean(factors == 0) == pytest.approx(0.25, abs=0.02)
    cotangent = np.random.default_rng(1).standard_normal((100, 100)).astype(dtype)
    y.backward(to_device(cotangent, device))
    np.testing.assert_allclose(to_cpu(x.grad), cotangent * factors, rtol=1e-6)


def test_each_call_draws_anew_and_a_seed_repeats_them():
    x, layer = Tensor(np.ones(50)), dropout(0.5, seed=3)
    first, second = layer(x).data, layer(x).data
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(dropout(0.5, seed=3)(x).data, first)
