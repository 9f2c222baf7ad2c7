"""gradcheck must notice wrong gradients, say which operation and where, and leave right ones alone."""

import numpy as np
import pytest

from minidl import Tensor, nn, ops
from minidl.device import to_cpu, to_device
from minidl.gradcheck import GradientError, GradientReport, gradcheck
from tests.minidl.harness import numbers


def operation(name, forward, backward):
    """An operation from a function of arrays and its (wrong) backward, which gets the gradient and the inputs."""

    def apply(*tensors):
        arrays = [tensor.data for tensor in tensors]
        return Tensor.from_operation(forward(*arrays), tensors, lambda grad: backward(grad, *arrays), name)

    return apply


def normalise(x):
    return (x - x.mean(0)) / np.sqrt(x.var(0) + 1e-5)


PLANTED = {
    "zero batch norm": (normalise, lambda grad, x: (np.zeros_like(x),), [(6, 3)]),
    "batch norm with constant statistics": (
        normalise,
        lambda grad, x: (grad / np.sqrt(x.var(0) + 1e-5),),
        [(6, 3)],
    ),
    "transposed weight gradient": (
        lambda x, w: x @ w,
        lambda grad, x, w: (grad @ w.T, (x.T @ grad).T),
        [(5, 3), (3, 3)],
    ),
    "sign": (lambda a, b: a - b, lambda grad, a, b: (grad, grad), [(2, 3), (2, 3)]),
    "factor two": (lambda a: a * a, lambda grad, a: (grad * a,), [(4,)]),
    "factor a thousandth off": (lambda a: a * a, lambda grad, a: (grad * a * 2.002,), [(4,)]),
    "one entry of many": (
        lambda a: a * 3,
        lambda grad, a: (np.where(np.arange(a.size) == 7, 0, grad * 3),),
        [(20,)],
    ),
    "swapped inputs": (lambda a, b: a * b, lambda grad, a, b: (grad * a, grad * b), [(3,), (3,)]),
    "not a number": (lambda a: a * 1, lambda grad, a: (grad * np.nan,), [(3,)]),
}


@pytest.mark.parametrize("right", [True, False])
def test_arrays_on_every_device(right, device):
    x = to_device(numbers(2, 3), device)

    def twice(a):
        return Tensor.from_operation(a.data * 2, (a,), lambda grad: (grad * (2 if right else 3),), "twice")

    if right:
        assert gradcheck(twice, x).error < 1e-8
        np.testing.assert_array_equal(to_cpu(x), numbers(2, 3))
    else:
        with pytest.raises(GradientError, match=r"^twice: input 0"):
            gradcheck(twice, x)


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("name", PLANTED)
def test_planted_wrong_gradients_are_noticed_and_named(name, seed):
    forward, backward, shapes = PLANTED[name]
    inputs = [numbers(*shape, seed=seed + index) for index, shape in enumerate(shapes)]
    with pytest.raises(GradientError, match=f"^{name}: input "):
        gradcheck(operation(name, forward, backward), *inputs)


def test_a_missing_broadcast_sum_is_noticed_and_named():
    wrong = operation("add without sum", lambda a, b: a + b, lambda grad, a, b: (grad, grad))
    with pytest.raises(ValueError, match=r"add without sum: .* shape \(2, 3\) for an input of shape \(3,\)"):
        gradcheck(wrong, numbers(2, 3), numbers(3))


def test_a_missing_gradient_counts_as_zero():
    broken = operation("broken", lambda a, b: a + b, lambda grad, a, b: (grad, None))
    constant = Tensor(numbers(3, seed=1))  # needs no gradient, so None is right
    assert gradcheck(lambda a: broken(a, constant), numbers(3)).error < 1e-6
    with pytest.raises(GradientError, match="input 0"):
        gradcheck(lambda a: Tensor(a.data.copy()) * a, numbers(3))  # half of the square's history is cut


def test_the_report_names_the_worst_entry():
    wrong = operation("wrong", lambda a, b: a + b, lambda grad, a, b: (grad, grad * [[1, 1], [1.5, 1]]))
    with pytest.raises(GradientError, match=r"wrong: input 1 at \(1, 0\): gradient .*, finite difference .*, relative"):
        gradcheck(wrong, numbers(2, 2), numbers(2, 2, seed=1))
    report = gradcheck(lambda a, b: a * b, numbers(2, 2), numbers(2, 2, seed=1))
    assert isinstance(report, GradientReport)
    assert report.operation == "multiply"
    assert report.error < 1e-8


def test_views_of_the_input_are_no_trap():
    # A transposed input shares memory with the input, which gradcheck moves back and forth.
    assert gradcheck(lambda a: a.transpose(), numbers(2, 3)).error < 1e-8


def test_a_gradient_that_is_truly_zero_passes():
    # A bias in front of a batch norm cancels; its finite differences are rounding alone.
    gamma, beta = Tensor(np.ones(3)), Tensor(np.zeros(3))
    gradcheck(lambda x, bias: ops.batchnorm(x * 7 + bias, gamma, beta)[0], numbers(40, 3), numbers(3, seed=1))


def test_inputs_and_parameters_are_left_as_they_were():
    layer = nn.Linear(2, 2, rng=np.random.default_rng(0)).astype(np.float64)
    x = numbers(3, 2)
    before = [x.copy(), layer.weight.data.copy()]
    gradcheck(lambda x, *_: layer(x), x, layer.weight, layer.bias)
    np.testing.assert_array_equal(x, before[0])
    np.testing.assert_array_equal(layer.weight.data, before[1])


def test_float32_is_refused():
    with pytest.raises(TypeError, match="gradcheck needs float64, input 1 is float32"):
        gradcheck(ops.add, numbers(2), numbers(2).astype(np.float32))
