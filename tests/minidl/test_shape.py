"""Reshape, transpose and taking parts."""

import numpy as np
import pytest

from minidl import Tensor, ops
from minidl.device import to_cpu, to_device
from tests.minidl.harness import check_operation, numbers


@pytest.mark.parametrize("shape", [(6, 4), (-1,), (2, -1, 2), (3, 1, 8)])
def test_reshape(shape, device):
    check_operation(lambda a: a.reshape(shape), [numbers(2, 3, 4)], lambda a: a.reshape(shape), device)
    check_operation(lambda a: a.reshape(*shape), [numbers(2, 3, 4)], lambda a: a.reshape(shape), device)


@pytest.mark.parametrize("axes", [(), (0, 2, 1), (2, 0, 1), (1, 2, 0), (-1, 0, 1)])
def test_transpose(axes, device):
    expected = lambda a: np.transpose(a, axes or None)  # noqa: E731
    check_operation(lambda a: a.transpose(*axes), [numbers(2, 3, 4)], expected, device)
    check_operation(lambda a: ops.transpose(a, axes), [numbers(2, 3, 4)], expected, device)


@pytest.mark.parametrize(
    "index",
    [
        1,
        -1,
        slice(1, 3),
        slice(None, None, -1),
        (slice(None), slice(None, None, 2)),
        (slice(3, 0, -2), 1, slice(-2, None)),
        (Ellipsis, 0),
        (None, 2, Ellipsis, None),
        (0, 1, 2),
        np.array([2, 0, 2, 2]),
        [1, 1, 0],
        (np.array([0, 0, 3]), slice(None), np.array([1, 1, 2])),
        (slice(None), np.array([[0, 1], [1, 1]])),
        (Ellipsis, np.array([-1, 0, -1])),
        np.arange(24).reshape(4, 2, 3) % 5 == 0,
        (np.array([True, False, True, True]), 1),
        np.int64(2),
    ],
    ids=str,
)
def test_taking_parts(index, device):
    check_operation(lambda a: a[index], [numbers(4, 2, 3)], lambda a: a[index], device)


def test_a_place_taken_three_times_collects_three_gradients(device):
    x = Tensor(to_device(np.zeros(3), device), requires_grad=True)
    x[np.array([2, 0, 2, 2])].backward(to_device(np.array([1.0, 10.0, 100.0, 1000.0]), device))
    np.testing.assert_array_equal(to_cpu(x.grad), [10, 0, 1101])


def test_a_shape_that_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="cannot reshape"):
        Tensor(np.ones((2, 3))).reshape(4, 2)


def test_iterating_over_a_tensor_gives_its_rows():
    rows = list(Tensor(np.arange(6.0).reshape(3, 2)))
    assert len(rows) == 3
    np.testing.assert_array_equal(rows[2].data, [4, 5])
