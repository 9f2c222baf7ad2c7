"""Modules: names and order of parameters, state, modes, observers."""

import copy

import numpy as np
import pytest

from minidl import Tensor, nn
from minidl.device import device_of
from minidl.nn.module import observe


class Block(nn.Module):
    """A convolution and a batch norm."""

    def __init__(self, inputs, outputs):
        self.conv = nn.Conv2d(inputs, outputs, 3, bias=False, rng=np.random.default_rng(0))
        self.norm = nn.BatchNorm(outputs, slope=0.1)

    def forward(self, x):
        return self.norm(self.conv(x))


class Network(nn.Module):
    """Modules as attributes and in a list, and a parameter of its own set in between."""

    def __init__(self):
        self.stem = Block(3, 4)
        self.scale = nn.Parameter(np.ones(1, np.float32))
        self.blocks = [Block(4, 4), Block(4, 2)]
        self.pool = nn.GlobalAveragePool()
        self.head = nn.Linear(2, 5, rng=np.random.default_rng(1))

    def forward(self, x):
        x = self.stem(x) * self.scale
        for block in self.blocks:
            x = block(x)
        return self.head(self.pool(x))


PARAMETERS = [
    "scale",
    "stem.conv.weight",
    "stem.norm.gamma",
    "stem.norm.beta",
    "blocks.0.conv.weight",
    "blocks.0.norm.gamma",
    "blocks.0.norm.beta",
    "blocks.1.conv.weight",
    "blocks.1.norm.gamma",
    "blocks.1.norm.beta",
    "head.weight",
    "head.bias",
]


def test_parameters_have_paths_and_a_fixed_order():
    network = Network()
    named = list(network.named_parameters())
    assert [path for path, _ in named] == PARAMETERS
    assert [id(each) for each in network.parameters()] == [id(each) for _, each in named]
    assert network.parameter_count() == 1 + (108 + 8) + (144 + 8) + (72 + 4) + (10 + 5)
    assert all(each.requires_grad for each in network.parameters())


def test_modules_have_paths_parents_first():
    paths = [path for path, _ in Network().named_modules()]
    assert paths[:4] == ["", "stem", "stem.conv", "stem.norm"]
    assert "blocks.1.norm" in paths
    assert [name for name, _ in Network().children()] == ["stem", "blocks.0", "blocks.1", "pool", "head"]


def test_an_absent_bias_is_no_parameter():
    assert [path for path, _ in nn.Conv2d(1, 1, 3, bias=False).named_parameters()] == ["weight"]
    assert [path for path, _ in nn.Conv2d(1, 1, 3).named_parameters()] == ["weight", "bias"]


def test_sequential_runs_its_layers_in_order():
    network = nn.Sequential(nn.LeakyReLU(0.5), nn.Upsample(2))
    y = network(Tensor(np.array([-2.0, 4.0], np.float32).reshape(1, 1, 2, 1)))
    np.testing.assert_array_equal(y.data[0, 0, :, 0], [-1, -1, 4, 4])
    assert [path for path, _ in network.named_modules()] == ["", "layers.0", "layers.1"]


def test_train_and_eval_reach_every_module():
    network = Network()
    assert all(module.training for _, module in network.named_modules())
    assert network.eval() is network
    assert not any(module.training for _, module in network.named_modules())
    assert network.train() is network
    assert all(module.training for _, module in network.named_modules())
    assert Network().training  # another network keeps its own mode


def test_zero_grad_and_astype():
    network = Network().astype(np.float64)
    assert {array.dtype for array in network.state_dict().values()} == {np.dtype(np.float64)}
    network(Tensor(np.ones((2, 4, 4, 3)))).sum().backward()
    assert all(each.grad is not None for each in network.parameters())
    network.zero_grad()
    assert all(each.grad is None for each in network.parameters())


def test_state_goes_round_through_another_network():
    first, second = Network(), Network()
    first(Tensor(np.random.default_rng(0).standard_normal((2, 6, 6, 3)).astype(np.float32)))  # moves statistics
    for number, parameter in enumerate(first.parameters()):
        parameter.data += number
    state = first.state_dict()
    assert set(state) - set(PARAMETERS) == {
        f"{block}.norm.{name}"
        for block in ("stem", "blocks.0", "blocks.1")
        for name in ("running_mean", "running_variance")
    }
    second.load_state_dict({name: array.copy() for name, array in state.items()})
    x = Tensor(np.ones((1, 5, 5, 3), np.float32))
    np.testing.assert_array_equal(first.eval()(x).data, second.eval()(x).data)
    second.head.bias.data += 1
    assert not np.array_equal(first.head.bias.data, second.head.bias.data)


def test_a_module_moves_with_gradients_buffers_and_state(device):
    network = Network()
    assert network.device == "cpu"
    network(Tensor(np.ones((2, 4, 4, 3), np.float32))).sum().backward()
    before = {path: array.copy() for path, array in network.state_dict().items()}
    gradients = [each.grad.copy() for each in network.parameters()]
    assert network.to(device) is network
    assert network.device == device
    assert {device_of(each.grad) for each in network.parameters()} == {device}
    assert device_of(network.stem.norm.running_mean.data) == device
    saved = network.state_dict()
    assert all(isinstance(array, np.ndarray) for array in saved.values())
    network.load_state_dict({path: array + 1 for path, array in saved.items()})
    assert network.device == device
    network.to("cpu")
    for path, array in network.state_dict().items():
        np.testing.assert_array_equal(array, before[path] + 1)
    for each, gradient in zip(network.parameters(), gradients, strict=True):
        np.testing.assert_array_equal(each.grad, gradient)


def test_a_module_without_parameters_is_on_the_cpu():
    assert nn.Upsample(2).to("cpu").device == "cpu"


def test_parameters_do_not_become_float16():
    with pytest.raises(TypeError, match="parameters stay float32; give the network float16 images instead"):
        Network().astype(np.float16)


def test_loaded_arrays_are_copies_in_the_networks_number_type():
    layer, given = nn.Linear(1, 1), {"weight": np.full((1, 1), 2.0), "bias": np.zeros(1)}
    layer.load_state_dict(given)
    assert layer.weight.dtype == np.float32
    given["weight"][0] = 7
    assert layer.weight.data == [[2]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("blocks.1.norm.running_mean"), r"no array for blocks\.1\.norm\.running_mean \(2,\)"),
        (lambda state: state.update({"head.bias": np.zeros(6)}), r"head\.bias has the shape \(5,\), .* \(6,\)"),
        (lambda state: state.update({"tail.weight": np.zeros(3)}), r"no layer for the array tail\.weight \(3,\)"),
    ],
    ids=["missing", "shape", "left over"],
)
def test_state_that_does_not_fit_names_the_layer_and_changes_nothing(change, message):
    network = Network()
    before = copy.deepcopy(network.state_dict())
    state = {name: array + 1 for name, array in before.items()}
    change(state)
    with pytest.raises(ValueError, match=message):
        network.load_state_dict(state)
    for name, array in network.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


def test_a_copy_of_a_network_is_independent():
    network = Network()
    twin = copy.deepcopy(network)
    twin.head.bias.data += 1
    assert [path for path, _ in twin.named_parameters()] == PARAMETERS
    np.testing.assert_array_equal(network.head.bias.data, np.zeros(5))


def test_observers_see_every_module_once_in_the_order_of_running():
    network, seen = Network(), []
    with observe(lambda module, inputs, output: seen.append((type(module).__name__, inputs[0].shape, output.shape))):
        network(Tensor(np.ones((1, 4, 4, 3), np.float32)))
    assert [name for name, *_ in seen] == [
        *("Conv2d", "BatchNorm", "Block") * 3,
        "GlobalAveragePool",
        "Linear",
        "Network",
    ]
    assert seen[0][1:] == ((1, 4, 4, 3), (1, 4, 4, 4))
    network(Tensor(np.ones((1, 4, 4, 3), np.float32)))
    assert len(seen) == 12


def test_an_observer_is_gone_after_an_error():
    seen = []
    with pytest.raises(ValueError, match="features"), observe(lambda *event: seen.append(event)):
        nn.Linear(2, 3)(Tensor(np.ones((1, 5))))
    nn.LeakyReLU()(Tensor(np.ones(1)))
    assert seen == []


def test_a_module_without_forward_says_so():
    class Empty(nn.Module):
        """No forward."""

    with pytest.raises(NotImplementedError, match=r"Empty defines no forward"):
        Empty()(Tensor([1.0]))
