"""SGD and Adam, step by step by hand; groups; state.  The original's two SGD steps are in test_batchnorm.py."""

import numpy as np
import pytest

from minidl import Tensor, nn
from minidl.device import device_of, to_cpu, to_device
from minidl.optim import SGD, Adam, decay_groups


def parameter(*values, device="cpu"):
    return nn.Parameter(to_device(np.array(values), device))


def step(optimizer, tensor, *gradient):
    tensor.grad = to_device(np.array(gradient), tensor.device)
    optimizer.step()


def test_sgd_with_momentum_by_hand(device):
    w = parameter(1.0, device=device)
    optimizer = SGD([w], learning_rate=0.1, momentum=0.5)
    step(optimizer, w, 2.0)  # v = 2
    np.testing.assert_allclose(to_cpu(w.data), [0.8])
    step(optimizer, w, 1.0)  # v = 1 + 1 = 2
    np.testing.assert_allclose(to_cpu(w.data), [0.6])
    optimizer.learning_rate = 0.01
    step(optimizer, w, 0.0)  # v = 1
    np.testing.assert_allclose(to_cpu(w.data), [0.59])


def test_sgd_decay_goes_through_the_momentum_and_only_into_its_group(device):
    w, b = parameter(10.0, device=device), parameter(10.0, device=device)
    optimizer = SGD([{"parameters": [w], "decay": 0.1}, {"parameters": [b]}], learning_rate=0.1, momentum=0.5)
    for each in (w, b):
        each.grad = to_device(np.array([1.0]), device)
    optimizer.step()  # w: v = 1 + 1 = 2;  b: v = 1
    np.testing.assert_allclose([w.data.item(), b.data.item()], [9.8, 9.9])
    optimizer.step()  # w: v = 1 + 1 + 0.98;  b: v = 1.5
    np.testing.assert_allclose([w.data.item(), b.data.item()], [9.8 - 0.298, 9.9 - 0.15])


def test_adam_by_hand(device):
    w = parameter(1.0, 1.0, device=device)
    optimizer = Adam([w], learning_rate=0.1, betas=(0.5, 0.75), epsilon=0.0)
    step(optimizer, w, 4.0, -0.001)  # corrected mean = gradient, square = gradient^2: one rate whatever the size
    np.testing.assert_allclose(to_cpu(w.data), [0.9, 1.1])
    # m = .5 * 2 + .5 * 1 = 1.5, over 1 - .25: 2;  v = .75 * 4 + .25 * 1 = 3.25, over 1 - .5625: 7.428571
    step(optimizer, w, 1.0, 0.0)
    assert w.data[0].item() == pytest.approx(0.9 - 0.1 * 2 / 7.428571428571429**0.5)
    # m = -.00025, over .75; v = .75 * .25e-6, over .4375
    assert w.data[1].item() == pytest.approx(1.1 + 0.1 * (0.00025 / 0.75) / (0.1875e-6 / 0.4375) ** 0.5)


def test_adam_epsilon_stands_outside_the_root(device):
    w = parameter(0.0, device=device)
    step(Adam([w], learning_rate=1.0, epsilon=3.0), w, 1.0)
    np.testing.assert_allclose(to_cpu(w.data), [-1 / (1 + 3)])


def test_adam_decay_is_added_to_the_gradient(device):
    w, plain = parameter(2.0, device=device), parameter(2.0, device=device)
    with_decay = Adam([{"parameters": [w], "decay": 0.5}], epsilon=1.0)
    step(with_decay, w, 3.0)
    step(Adam([plain], epsilon=1.0), plain, 4.0)
    np.testing.assert_allclose(to_cpu(w.data), to_cpu(plain.data))


def test_parameters_without_a_gradient_stay(device):
    w, idle = parameter(1.0, device=device), parameter(5.0, device=device)
    for optimizer in (SGD([w, idle]), Adam([w, idle])):
        step(optimizer, w, 1.0)
        assert idle.item() == 5
    optimizer.zero_grad()
    assert w.grad is None


def test_decay_groups_decay_weights_alone():
    network = nn.Sequential(nn.Conv2d(2, 3, 1), nn.BatchNorm(3), nn.Linear(3, 1))
    weights, others = decay_groups(network, 5e-4)
    convolution, norm, linear = network.layers
    assert [id(each) for each in weights["parameters"]] == [id(convolution.weight), id(linear.weight)]
    rest = [convolution.bias, norm.gamma, norm.beta, linear.bias]
    assert [id(each) for each in others["parameters"]] == [id(each) for each in rest]
    assert weights["decay"] == 5e-4
    assert others.get("decay", 0) == 0


@pytest.mark.parametrize("kind", [SGD, Adam])
def test_float32_parameters_and_state_stay_float32(kind, device):
    w = nn.Parameter(to_device(np.ones(3, np.float32), device))
    optimizer = kind([{"parameters": [w], "decay": 0.1}], learning_rate=0.1)
    (w * w).sum().backward()
    optimizer.step()
    assert w.dtype == np.float32
    counts = ("step_count", "left_out")
    assert all(array.dtype == np.float32 for name, array in optimizer.state_dict().items() if name not in counts)


def test_adam_counts_the_steps_of_a_parameter_that_was_frozen_by_itself():
    steady, frozen = parameter(0.0), parameter(0.0)
    optimizer = Adam([steady, frozen], learning_rate=0.1)
    for _ in range(20):
        step(optimizer, steady, 1.0)
    assert frozen.data == 0
    resumed = Adam([steady, frozen], learning_rate=0.1)
    resumed.load_state_dict(optimizer.state_dict())
    for number in (1, 2, 3):  # with one and the same gradient m' / sqrt(v') is 1 in every step
        frozen.grad = np.array([7.0])
        step(resumed, steady, 1.0)
        np.testing.assert_allclose(frozen.data, -0.1 * number, rtol=1e-6)


def test_state_from_before_parameters_were_frozen():
    w = parameter(1.0)
    optimizer = Adam([w])
    state = {name: array + 1 for name, array in optimizer.state_dict().items() if name != "left_out"}
    optimizer.load_state_dict(state)
    assert optimizer.step_count == 1
    assert optimizer.state_dict()["left_out"].tolist() == [0]


@pytest.mark.parametrize("kind", [SGD, Adam])
def test_a_resumed_run_goes_on_as_if_it_had_never_stopped(kind):
    def run(optimizer, w, gradients):
        for gradient in gradients:
            step(optimizer, w, *gradient)

    gradients = np.random.default_rng(0).standard_normal((6, 2))
    straight = parameter(1.0, 2.0)
    run(kind([straight], learning_rate=0.1), straight, gradients)

    w = parameter(1.0, 2.0)
    first = kind([w], learning_rate=0.1)
    run(first, w, gradients[:3])
    state = {name: array.copy() for name, array in first.state_dict().items()}
    resumed = parameter(*w.data)
    second = kind([resumed], learning_rate=0.1)
    second.load_state_dict(state)
    run(second, resumed, gradients[3:])
    np.testing.assert_array_equal(resumed.data, straight.data)
    assert second.step_count == 6


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("1.velocity"), r"optimizer state 1\.velocity"),
        (lambda state: state.update({"0.velocity": np.zeros(5)}), r"optimizer state 0\.velocity"),
        (lambda state: state.pop("step_count"), "optimizer state step_count"),
        (lambda state: state.update({"2.velocity": np.zeros(1)}), r"optimizer state .*2\.velocity"),
        (lambda state: state.update({"left_out": np.array([0, 2])}), "left_out must lie between 0 and"),
    ],
    ids=["missing", "shape", "no count", "left over", "left out too often"],
)
def test_state_that_does_not_fit_is_refused_and_changes_nothing(change, message):
    parameters = [parameter(1.0, 2.0), parameter(3.0)]
    optimizer = SGD(parameters)
    state = {name: array + 1 for name, array in optimizer.state_dict().items()}
    change(state)
    with pytest.raises(ValueError, match=message):
        optimizer.load_state_dict(state)
    assert all((array == 0).all() for array in optimizer.state_dict().values())


@pytest.mark.parametrize("kind", [SGD, Adam])
def test_state_lies_beside_its_parameter_and_is_saved_as_numpy_arrays(kind, device):
    w = parameter(1.0, 2.0)
    optimizer = kind([w], learning_rate=0.1)
    step(optimizer, w, 1.0, -1.0)
    w.data = to_device(w.data, device)
    step(optimizer, w, 1.0, -1.0)
    saved = optimizer.state_dict()
    assert all(isinstance(array, np.ndarray) for array in saved.values())
    twin = parameter(*to_cpu(w.data), device=device)
    resumed = kind([twin], learning_rate=0.1)
    resumed.load_state_dict({name: array.copy() for name, array in saved.items()})
    for each, tensor in ((optimizer, w), (resumed, twin)):
        step(each, tensor, 0.5, 2.0)
        assert device_of(tensor.data) == device
    np.testing.assert_array_equal(to_cpu(twin.data), to_cpu(w.data))


@pytest.mark.parametrize("kind", [SGD, Adam])
def test_it_finds_the_minimum_of_a_bowl(kind):
    w = parameter(3.0, -2.0)
    optimizer = kind([w], learning_rate=0.05)
    for _ in range(300):
        optimizer.zero_grad()
        ((w - np.array([1.0, 0.5])) ** 2 * np.array([1.0, 4.0])).sum().backward()
        optimizer.step()
    np.testing.assert_allclose(w.data, [1, 0.5], atol=1e-3)


def test_parameters_may_come_from_any_iterable():
    layer = nn.Linear(2, 2)
    optimizer = SGD(each for each in layer.parameters())
    layer(Tensor(np.ones((1, 2), np.float32))).sum().backward()
    before = layer.bias.data.copy()
    optimizer.step()
    assert (layer.bias.data < before).all()
