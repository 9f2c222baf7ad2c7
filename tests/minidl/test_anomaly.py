"""The first number that is not finite is found where it was put."""

import numpy as np
import pytest

from minidl import Tensor, nn, ops
from minidl.anomaly import Anomaly, first_anomaly
from minidl.device import to_device


class Odd(nn.Module):
    """A layer that works on its inputs with a given function."""

    def __init__(self, function):
        self.function = function

    def forward(self, x):
        return self.function(x)


def network(middle=lambda x: x):
    rng = np.random.default_rng(0)
    first, last = nn.Linear(3, 4, rng=rng), nn.Linear(4, 2, rng=rng)
    return nn.Sequential(first, nn.Sequential(Odd(middle)), last)


def find(model, device="cpu", last=lambda x: x.sum(), images=None):
    images = np.ones((2, 3), np.float32) if images is None else images
    with np.errstate(all="ignore"):
        return first_anomaly(model.to(device), lambda: last(model(Tensor(to_device(images, device)))))


def times(factor):
    return lambda x: ops.multiply(x, factor)


def hidden(factor):
    """The identity, whose gradient is multiplied by ``factor``."""

    def apply(x):
        return Tensor.from_operation(x.data.copy(), (x,), lambda grad: [grad * np.float32(factor)], "hidden")

    return apply


def test_finite_numbers(device):
    model = network()
    assert find(model, device) is None
    assert find(model, device, last=lambda x: [x, x]) is None


def test_the_first_of_many_in_the_forward_pass(device):
    model = network(lambda x: ops.multiply(ops.multiply(x, np.inf), 2.0))
    assert find(model, device) == Anomaly("forward", "multiply", "layers.1.layers.0")
    model = network(lambda x: times(1e30)(times(1e30)(x)))
    assert find(model, device) == Anomaly("forward", "multiply", "layers.1.layers.0")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_weights_and_images(device, value):
    model = network()
    model.layers[2].weight.data[1, 1] = value
    assert find(model, device) == Anomaly("forward", "leaf", "layers.2.weight")
    images = np.ones((2, 3), np.float32)
    images[0, 1] = value
    assert find(network(), device, images=images) == Anomaly("forward", "leaf", "")


def test_behind_the_network():
    found = find(network(), last=lambda x: times(1e30)(times(1e30)(x).sum()))
    assert found.direction == "forward"
    assert found.path == ""


def test_layers_that_are_not_trained_are_seen_too():
    """Their results remember nothing of how they were made."""
    model = network(lambda x: times(1e30)(times(1e30)(x)))
    for parameter in model.layers[0].parameters():
        parameter.requires_grad = False
    assert find(model).path == "layers.1.layers.0"


@pytest.mark.parametrize("factor", [np.nan, 1e35])
def test_in_the_backward_pass(factor):
    model = network(hidden(factor))
    if np.isfinite(factor):  # not too large here, but behind it, when it meets the weights
        model.layers[0].weight.data[:] = 0
        assert find(model, images=np.full((2, 3), 1e6, np.float32)) == Anomaly("backward", "linear", "layers.0")
    else:
        assert find(model) == Anomaly("backward", "hidden", "layers.1.layers.0")


def test_gradients_are_those_of_an_ordinary_step():
    watched, plain = network(times(2.0)), network(times(2.0))
    find(watched)
    plain(Tensor(np.ones((2, 3), np.float32))).sum().backward()
    for one, other in zip(watched.parameters(), plain.parameters(), strict=True):
        np.testing.assert_array_equal(one.grad, other.grad)


def test_a_long_chain_is_no_deep_recursion():
    def chain(x):
        for _ in range(3000):
            x = ops.add(x, 0.0)
        return x

    assert find(network(chain)) is None
