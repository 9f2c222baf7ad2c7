"""Our own networks in the original's terms."""

import numpy as np
import pytest

from minidl import nn, ops
from tests.minidl.small_networks import outputs_of, pictures, randomised
from tests.yolov3.darknet.random_networks import DETECTOR, configured
from yolov3.backbones import BACKBONES
from yolov3.blocks import ConvBlock
from yolov3.darknet import kinds
from yolov3.darknet.cfg import builtin_cfg, read_cfg
from yolov3.darknet.network import ConfiguredNetwork
from yolov3.darknet.trace import plan_of
from yolov3.darknet.weights import read_weights, write_weights
from yolov3.errors import UserError
from yolov3.model import PRESETS, build_model


def kinds_of(plan):
    return [layer.kind for layer in plan.layers]


@pytest.mark.parametrize("name", ["yolov3", "yolov3-tiny"])
@pytest.mark.parametrize("size", [(96, 96), (64, 128)])
def test_the_python_networks_are_the_shipped_cfgs(name, size):
    ours, shipped = plan_of(build_model(name), size), read_cfg(builtin_cfg(name), size)
    assert kinds_of(ours) == kinds_of(shipped)
    assert ours.layers == shipped.layers


@pytest.mark.parametrize("name", BACKBONES)
def test_the_python_classifiers_are_the_shipped_cfgs_up_to_the_last_layers(name):
    ours, shipped = plan_of(BACKBONES[name](), (64, 64)), read_cfg(builtin_cfg(name), (64, 64))
    # The cfgs end in a softmax.  Where the mean comes first, the last layer is a 1x1 convolution there, connected here.
    end = [kinds.AvgPool, kinds.Connected] if isinstance(kinds_of(ours)[-1], kinds.Connected) else [kinds.AvgPool]
    assert [type(kind) for kind in kinds_of(ours)][-len(end) :] == end
    count = len(ours.layers) - len(end)
    assert kinds_of(ours)[:count] == kinds_of(shipped)[:count]
    assert ours.floats == shipped.floats
    assert ours.operations == shipped.operations


@pytest.mark.parametrize("lateral", ["concat", "add"])
@pytest.mark.parametrize("name", ["yolov3-nano", "yolov3-small"])
def test_small_networks_give_the_same_numbers_from_their_plan(name, lateral, tmp_path):
    model = randomised(build_model(name, classes=3, lateral=lateral, seed=3))
    plan = plan_of(model, (64, 96))
    assert plan.trainable == model.parameter_count()
    write_weights(tmp_path / "n.weights", model)
    network = ConfiguredNetwork(plan)
    read_weights(tmp_path / "n.weights", network)
    images = pictures(2, 64, 96, 3)
    for ours, wanted in zip(outputs_of(network, images), outputs_of(model, images), strict=True):
        np.testing.assert_array_equal(ours, wanted)
    for ours, wanted in zip(network.anchors, model.anchors, strict=True):
        np.testing.assert_array_equal(ours, wanted)


def test_counts_are_those_of_the_layer_table():
    for name in PRESETS:
        model = build_model(name)
        rows = nn.layer_table(model, (64, 64, 3))
        plan = plan_of(model, (64, 64))
        assert plan.operations == sum(row.operations for row in rows)
        assert plan.trainable == sum(row.parameters for row in rows)


def test_a_configured_network_knows_its_plan():
    network = configured(DETECTOR)
    assert plan_of(network, (32, 32)) is not None
    assert kinds_of(plan_of(network, (64, 96))) == DETECTOR


class Small(nn.Module):
    """Layers around one questionable one."""

    def __init__(self, layer, inputs=1):
        self.first, self.layer, self.inputs = ConvBlock(3, 4, 3), layer, inputs

    def forward(self, x):
        return self.layer(*[self.first(x)] * self.inputs)


@pytest.mark.parametrize(
    ("network", "problem"),
    [
        (Small(nn.BatchNorm(4)), "layer: a cfg has no place for a second one"),
        (Small(nn.LeakyReLU()), "layer: a cfg has no place for a second one"),
        (Small(nn.LeakyReLU(0.2)), "layer: the original has no leaky ReLU of slope 0.2"),
        (Small(nn.Upsample(2, "bilinear")), "layer: the original has no layer like Upsample"),
        (Small(nn.Sequential(nn.Upsample(2), nn.LeakyReLU())), "must follow a convolution or a sum"),
        (nn.Sequential(nn.BatchNorm(3)), "layers.0: in a cfg it must follow a convolution"),
        (Small(nn.Shortcut(0.3), 2), "slope 0.3"),
    ],
)
def test_what_the_original_has_no_words_for(network, problem):
    with pytest.raises(UserError, match=problem):
        plan_of(network, (8, 8))


def test_what_no_layer_made_is_refused():
    class Plain(Small):
        def forward(self, x):
            return self.layer(ops.add(self.first(x), 1.0))

    with pytest.raises(UserError, match="layer reads what no layer made"):
        plan_of(Plain(nn.Upsample()), (8, 8))


def test_a_map_that_is_read_twice_keeps_its_activation_apart():
    class Twice(nn.Module):
        def __init__(self):
            self.conv, self.leaky, self.join = nn.Conv2d(3, 4, 1), nn.LeakyReLU(), nn.Concat()

        def forward(self, x):
            y = self.conv(x)
            return self.join(self.leaky(y), y)

    with pytest.raises(UserError, match="that nothing else reads"):
        plan_of(Twice(), (8, 8))


def test_routes_come_in_where_a_layer_reads_another_one():
    class Branches(nn.Module):
        def __init__(self):
            self.a, self.b, self.c = ConvBlock(3, 4, 1), ConvBlock(4, 4, 3), ConvBlock(4, 4, 3)
            self.sum = nn.Shortcut()

        def forward(self, x):
            x = self.a(x)
            return self.sum(self.b(x), self.c(x))

    found = kinds_of(plan_of(Branches(), (8, 8)))
    assert [type(kind).__name__ for kind in found] == ["Convolutional"] * 2 + ["Route", "Convolutional", "Shortcut"]
    assert (found[2].sources, found[4].source) == ((0,), 1)


def test_a_batch_norm_behind_a_sum():
    class Sum(nn.Module):
        def __init__(self):
            self.a, self.b, self.sum = ConvBlock(3, 4, 1), ConvBlock(4, 4, 1), nn.Shortcut()
            self.c, self.norm = nn.Conv2d(4, 4, 1), nn.BatchNorm(4)

        def forward(self, x):
            x = self.a(x)
            return self.c(self.norm(self.sum(self.b(x), x)))

    with pytest.raises(UserError, match="batch norm must follow a convolution"):
        plan_of(Sum(), (8, 8))


def test_layers_that_run_in_another_order_than_that_of_the_file():
    class Backwards(nn.Module):
        def __init__(self):
            self.second, self.first = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)

        def forward(self, x):
            return self.second(self.first(x))

    class Twice(nn.Module):
        def __init__(self):
            self.layer = nn.Conv2d(3, 3, 1)

        def forward(self, x):
            return self.layer(self.layer(x))

    for network in (Backwards(), Twice()):
        with pytest.raises(UserError, match="another order"):
            plan_of(network, (8, 8))
