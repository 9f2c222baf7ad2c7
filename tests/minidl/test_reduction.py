"""Sum, mean and largest value."""

import numpy as np
import pytest

from minidl import Tensor, ops
from minidl.device import to_cpu, to_device
from tests.minidl.harness import check_operation, distinct

AXES = [None, 0, 1, -1, (0, 2), (-1, 0), (0, 1, 2)]


@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize(
    ("function", "expected"), [(ops.sum_value, np.sum), (ops.mean, np.mean), (ops.max_value, np.max)]
)
def test_reductions(function, expected, axis, keepdims, device):
    check_operation(
        lambda a: function(a, axis, keepdims),
        [distinct(3, 2, 4)],
        lambda a: expected(a, axis=axis, keepdims=keepdims),
        device,
    )


def test_methods_reduce_along_the_same_axes():
    x = np.arange(6.0).reshape(2, 3)
    tensor = Tensor(x)
    np.testing.assert_array_equal(tensor.sum(axis=0).data, [3, 5, 7])
    np.testing.assert_array_equal(tensor.mean(axis=1).data, [1, 4])
    np.testing.assert_array_equal(tensor.max(axis=1, keepdims=True).data, [[2], [5]])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_equal_largest_values_share_the_gradient(dtype, device):
    tensor = Tensor(to_device(np.array([[1, 7, 7], [5, 5, 5]], dtype), device), requires_grad=True)
    tensor.max(axis=1).backward(to_device(np.array([4, 3], dtype), device))
    np.testing.assert_allclose(to_cpu(tensor.grad), [[0, 2, 2], [1, 1, 1]])
    assert tensor.grad.dtype == dtype


def test_a_float32_sum_of_many_numbers_keeps_its_digits():
    values = np.full(1_000_003, 0.1, np.float32)
    total = Tensor(values).sum()
    assert total.dtype == np.float32
    assert total.item() == pytest.approx(100_000.3, rel=1e-6)


def test_an_axis_that_does_not_exist_is_refused():
    with pytest.raises(ValueError, match="axis 2 is out of bounds"):
        Tensor(np.ones((2, 3))).sum(axis=2)
