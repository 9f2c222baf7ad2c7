"""Elementwise arithmetic: values, gradients, broadcasting, operands that are no tensors, number types."""

import numpy as np
import pytest

from minidl import Tensor, ops
from minidl.device import to_cpu, to_device
from tests.minidl.harness import check_operation, distinct, numbers

POSITIVE = np.abs(numbers(2, 3, seed=5)) + 0.5


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (ops.add, np.add),
        (ops.subtract, np.subtract),
        (ops.multiply, np.multiply),
        (lambda a, b: ops.divide(a, b * b + 0.5), lambda a, b: a / (b * b + 0.5)),
    ],
    ids=["add", "subtract", "multiply", "divide"],
)
@pytest.mark.parametrize(
    ("shape_a", "shape_b"),
    [((2, 3), (2, 3)), ((2, 3), (3,)), ((3,), (4, 2, 3)), ((2, 1), (1, 3)), ((2, 3), (1, 1)), ((2, 3), ()), ((), ())],
)
def test_binary_operations_broadcast_in_both_directions(function, expected, shape_a, shape_b, device):
    check_operation(function, [numbers(*shape_a), numbers(*shape_b, seed=2)], expected, device)


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (ops.negative, np.negative),
        (ops.exp, np.exp),
        (ops.log, np.log),
        (ops.sqrt, np.sqrt),
        (lambda a: ops.power(a, 3), lambda a: a * a * a),
        (lambda a: ops.power(a, -0.5), lambda a: 1 / np.sqrt(a)),
        (lambda a: a**2, lambda a: a * a),
        (lambda a: 2 - a, lambda a: 2 - a),
        (lambda a: 2 / a, lambda a: 2 / a),
        (lambda a: -a + 1, lambda a: 1 - a),
    ],
)
def test_operations_of_one_tensor(function, expected, device):
    check_operation(function, [POSITIVE], expected, device)


@pytest.mark.parametrize(("low", "high"), [(-0.4, 0.7), (None, 0.3), (0.0, None), (None, None)])
def test_clip_passes_gradients_inside_only(low, high, device):
    bounds = (-np.inf if low is None else low, np.inf if high is None else high)
    x = distinct(4, 5)
    check_operation(
        lambda a: ops.clip(a, low, high),
        [x],
        lambda a: np.array([min(max(value, bounds[0]), bounds[1]) for value in a.ravel()]).reshape(a.shape),
        device,
    )
    tensor = Tensor(to_device(x, device), requires_grad=True)
    tensor.clip(low, high).backward(to_device(np.full(x.shape, 3.0), device))
    np.testing.assert_array_equal(to_cpu(tensor.grad), np.where((x > bounds[0]) & (x < bounds[1]), 3.0, 0.0))


def test_division_gradient_by_hand(device):
    a, b = (Tensor(to_device(np.array([value]), device), requires_grad=True) for value in (6.0, 2.0))
    (a / b).backward()
    assert (a.grad.item(), b.grad.item()) == (0.5, -1.5)


@pytest.mark.parametrize("other", [3, 2.5, np.float64(2.5), np.float32(2.5), np.array([1.5, 2, 4]), [1, 2, 3]])
@pytest.mark.parametrize("symbol", ["+", "-", "*", "/"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_numbers_and_arrays_on_either_side_become_the_tensors_type(symbol, other, dtype):
    values = np.array([[1, 2, 3], [4, 5, 6]], dtype)
    operate = {
        "+": lambda a, b: a + b,
        "-": lambda a, b: a - b,
        "*": lambda a, b: a * b,
        "/": lambda a, b: a / b,
    }[symbol]
    for swapped in (False, True):
        tensor = Tensor(values, requires_grad=True)
        result = operate(other, tensor) if swapped else operate(tensor, other)
        wanted = operate(np.asarray(other, float), values.astype(float))
        wanted = wanted if swapped else operate(values.astype(float), np.asarray(other, float))
        assert isinstance(result, Tensor)
        assert result.dtype == dtype
        np.testing.assert_allclose(result.data, wanted, rtol=1e-6)
        result.sum().backward()
        assert tensor.grad.dtype == dtype


def test_an_array_on_the_left_of_matmul_makes_a_tensor():
    result = np.eye(2) @ Tensor(np.array([[1.0, 2.0], [3.0, 4.0]], np.float32))
    assert isinstance(result, Tensor)
    assert result.dtype == np.float32
    np.testing.assert_array_equal(result.data, [[1, 2], [3, 4]])


def test_exponents_are_plain_numbers():
    with pytest.raises(TypeError, match="power: the exponent must be a plain number"):
        Tensor(np.ones(2)) ** Tensor(np.ones(2))


def test_shapes_that_do_not_broadcast_are_refused():
    with pytest.raises(ValueError, match="broadcast"):
        Tensor(np.ones((2, 3))) + Tensor(np.ones((2, 4)))
