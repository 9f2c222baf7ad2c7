"""Loss scaling: exact for powers of two, halved by an overflow, doubled by good steps, on every device."""

import numpy as np
import pytest

from minidl import nn
from minidl.device import to_cpu, to_device
from minidl.loss_scale import LossScale
from minidl.optim import SGD


def parameters_on(device):
    return [nn.Parameter(to_device(np.array(values, np.float32), device)) for values in ([1, 2, 3], [[4]])]


def backward(scale, parameters, factor=1.0):
    """The gradient of each number is ``factor``."""
    loss = (parameters[0].sum() + parameters[1].sum()) * factor
    scale.scale(loss).backward()
    return loss


def test_gradients_come_out_unscaled_and_the_values_are_read(device):
    parameters, scale = parameters_on(device), LossScale(2.0**10)
    loss = backward(scale, parameters, 0.3)
    np.testing.assert_array_equal(to_cpu(parameters[0].grad), np.float32([0.3] * 3) * 2**10)
    finite, numbers = scale.unscale_and_check(SGD(parameters), loss, parameters[1].data)
    assert finite
    assert numbers == [loss.item(), 4.0]
    for parameter in parameters:
        np.testing.assert_array_equal(to_cpu(parameter.grad), np.full(parameter.shape, 0.3, np.float32))


@pytest.mark.parametrize("bad", [np.inf, -np.inf, np.nan])
def test_an_overflow_halves_the_scale_and_is_reported(bad, device):
    parameters, scale = parameters_on(device), LossScale(8, double_after=2)
    backward(scale, parameters)
    parameters[0].grad[1] = bad
    assert scale.unscale_and_check(SGD(parameters)) == (False, [])
    assert scale.factor == 4


def test_good_steps_in_a_row_double_the_scale():
    parameters, scale = parameters_on("cpu"), LossScale(8, double_after=3)
    factors = []
    for bad in (0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 0):
        backward(scale, parameters)
        if bad:
            parameters[1].grad[...] = np.inf
        scale.unscale_and_check(SGD(parameters))
        factors.append(scale.factor)
        for each in parameters:
            each.grad = None
    assert factors == [8, 8, 4, 4, 4, 8, 8, 8, 16, 8, 8]


def test_the_scale_never_falls_below_one():
    parameters, scale = parameters_on("cpu"), LossScale(2)
    for _ in range(3):
        backward(scale, parameters, np.nan)
        assert scale.unscale_and_check(SGD(parameters)) == (False, [])
    assert scale.factor == 1


def test_a_scale_that_stays(device):
    parameters, scale = parameters_on(device), LossScale(1, double_after=None)
    for factor in (1.0, np.inf):
        backward(scale, parameters, factor)
        assert scale.unscale_and_check(SGD(parameters))[0] == np.isfinite(factor)
    assert scale.factor == 1


def test_parameters_without_a_gradient_are_left_out(device):
    parameters, scale = parameters_on(device), LossScale()
    scale.scale(parameters[0].sum()).backward()
    assert scale.unscale_and_check(SGD(parameters))[0]
    assert parameters[1].grad is None


def test_state_goes_round():
    scale = LossScale(8, double_after=5)
    scale.factor, scale.good_steps = 32.0, 3
    other = LossScale()
    other.load_state_dict(scale.state_dict())
    assert (other.factor, other.good_steps) == (32.0, 3)
