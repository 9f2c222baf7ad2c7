"""Concatenation along channels."""

import numpy as np
import pytest

from minidl import Tensor, ops
from tests.minidl import naive
from tests.minidl.harness import check_operation, numbers


@pytest.mark.parametrize("channels", [(3,), (2, 3), (1, 4, 2)])
@pytest.mark.parametrize("leading", [(2, 3, 5), (4,)])
def test_concat(channels, leading, device):
    inputs = [numbers(*leading, count, seed=count) for count in channels]
    check_operation(ops.concat, inputs, naive.concat, device)


def test_gradient_is_cut_apart_by_hand():
    a, b = Tensor(np.zeros((1, 2)), requires_grad=True), Tensor(np.zeros((1, 1)), requires_grad=True)
    ops.concat(a, b, a).backward(np.array([[1.0, 2.0, 3.0, 40.0, 50.0]]))
    np.testing.assert_array_equal(a.grad, [[41, 52]])
    np.testing.assert_array_equal(b.grad, [[3]])


def test_gradients_are_arrays_of_their_own():
    a, b = (Tensor(np.zeros((2, 2)), requires_grad=True) for _ in range(2))
    given = np.ones((2, 4))
    ops.concat(a, b).backward(given)
    a.grad += 5
    np.testing.assert_array_equal(given, np.ones((2, 4)))


@pytest.mark.parametrize("other", [(1, 3, 5, 2), (2, 3, 4, 2), (3, 5, 2)])
def test_images_of_another_size_are_refused(other):
    with pytest.raises(ValueError, match="concat: inputs must agree in all axes but the last"):
        ops.concat(Tensor(np.ones((1, 3, 4, 2))), Tensor(np.ones(other)))


def test_no_input_is_refused():
    with pytest.raises(ValueError, match="concat"):
        ops.concat()
