"""The running average of weights: by hand, swapped in and out, on every device."""

import numpy as np
import pytest

from minidl import nn
from minidl.average import WeightAverage
from minidl.device import device_of, to_cpu, to_device
from minidl.nn.module import Buffer


class Scale(nn.Module):
    """One weight and one buffer."""

    def __init__(self, device):
        self.weight = nn.Parameter(to_device(np.array([1.0, 10.0]), device))
        self.seen = Buffer(to_device(np.array([0.0]), device))


def test_by_hand(device):
    model = Scale(device)
    average = WeightAverage(model, 0.5)
    for step, (weight, seen) in enumerate([([2.0, 10.0], 20.0), ([5.0, 0.0], 4.0), ([4.0, 2.0], 8.0)], start=1):
        model.weight.data = to_device(np.array(weight), device)
        model.seen.data = to_device(np.array([seen]), device)
        average.update(step)
    # step 1 keeps 1/10: .1 + 1.8, 10, 18;  step 2 keeps 2/11;  step 3 keeps 3/12
    second = np.array([1.9 * 2 / 11 + 5 * 9 / 11, 10 * 2 / 11, 18 * 2 / 11 + 4 * 9 / 11])
    third = 0.25 * second + 0.75 * np.array([4, 2, 8])
    state = average.state_dict()
    np.testing.assert_allclose(np.concatenate([state["weight"], state["seen"]]), third, rtol=1e-14)
    average.decay = 0.125  # now it is the smaller of the two
    average.update(10**6)
    np.testing.assert_allclose(average.state_dict()["weight"], 0.125 * third[:2] + 0.875 * np.array([4, 2]))


def test_it_is_the_modules_weights_while_swapped_in(device):
    model = Scale(device)
    average = WeightAverage(model, 0.5)
    model.weight.data = model.weight.data + 1
    with average.swapped_in():
        np.testing.assert_array_equal(to_cpu(model.weight.data), [1, 10])
        assert device_of(model.weight.data) == device
        np.testing.assert_array_equal(average.state_dict()["weight"], [2, 11])
    np.testing.assert_array_equal(to_cpu(model.weight.data), [2, 11])


def test_the_average_is_a_copy_and_in_place_steps_leave_it_alone(device):
    model = Scale(device)
    average = WeightAverage(model, 0.5)
    model.weight.data += 1
    np.testing.assert_array_equal(average.state_dict()["weight"], [1, 10])


@pytest.mark.parametrize("decay", [-0.1, 1.0, float("nan")])
def test_a_decay_must_lie_between_0_and_1(decay):
    with pytest.raises(ValueError, match="decay"):
        WeightAverage(Scale("cpu"), decay)
