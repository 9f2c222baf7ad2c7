"""Networks built from plans: the same layers, and so the same numbers, as the networks written in Python."""

import weakref

import numpy as np
import pytest

from minidl import Tensor, nn, no_grad
from minidl.gradcheck import gradcheck
from minidl.nn.module import observe
from tests.minidl import naive
from tests.minidl.small_networks import outputs_of, pictures, randomised
from tests.yolov3.darknet.random_networks import CLASSIFIER, DETECTOR, configured, conv
from yolov3.backbones import BACKBONES
from yolov3.darknet import kinds
from yolov3.darknet.cfg import builtin_cfg, read_cfg
from yolov3.darknet.network import ConfiguredNetwork
from yolov3.darknet.plan import make_plan
from yolov3.darknet.weights import read_weights, write_weights
from yolov3.model import YOLOv3Tiny, build_model


def through_a_file(model, plan, folder):
    """A network of the plan with the numbers of ``model``."""
    write_weights(folder / "f.weights", model)
    network = ConfiguredNetwork(plan)
    read_weights(folder / "f.weights", network)
    return network


@pytest.mark.parametrize("name", ["yolov3", "yolov3-tiny"])
@pytest.mark.parametrize("size", [(96, 96), (64, 128)])
def test_heads_of_the_cfg_are_those_of_the_python_network(name, size, tmp_path):
    by_hand = randomised(build_model(name, seed=1))
    network = through_a_file(by_hand, read_cfg(builtin_cfg(name), size), tmp_path)
    images = pictures(1, *size, 3)
    for ours, wanted in zip(outputs_of(network, images), outputs_of(by_hand, images), strict=True):
        np.testing.assert_array_equal(ours, wanted)
    assert (network.classes, network.strides) == (80, by_hand.strides)
    for ours, wanted in zip(network.anchors, by_hand.anchors, strict=True):
        np.testing.assert_array_equal(ours, wanted)


@pytest.mark.parametrize("name", ["darknet19", "darknet53", "resnet50"])
def test_probabilities_of_the_cfg_are_those_of_the_python_network(name, tmp_path):
    by_hand = randomised(BACKBONES[name](rng=np.random.default_rng(2)))
    network = through_a_file(by_hand, read_cfg(builtin_cfg(name), (64, 96)), tmp_path)
    images = pictures(2, 64, 96, 3)
    (logits,), (probabilities,) = outputs_of(by_hand, images), outputs_of(network, images)
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    np.testing.assert_allclose(probabilities, exponentials / exponentials.sum(axis=1, keepdims=True), atol=1e-6)
    assert np.ptp(probabilities) > 1e-4  # else anything would do


def test_the_published_tiny_has_other_anchors_in_its_second_layer():
    small = read_cfg(builtin_cfg("yolov3-tiny"), (64, 64)), read_cfg(builtin_cfg("yolov3-tiny-published"), (64, 64))
    shipped, published = (ConfiguredNetwork(plan).anchors[1].tolist() for plan in small)
    assert shipped == [[10, 14], [23, 27], [37, 58]]
    assert published == [[23, 27], [37, 58], [81, 82]]


def test_anchors_of_a_region_layer_are_in_cells():
    network = configured([conv(16, 3, 8, False, "linear"), kinds.Region(((0.5, 1), (2, 3)), 3, True)], (64, 96, 3))
    assert network.strides == (8,)
    np.testing.assert_array_equal(network.anchors[0], [[4, 8], [16, 24]])
    assert network.one_class_per_box


def test_layers_by_hand():
    # Every step once more, with the plainest means.
    network = configured(CLASSIFIER)
    images = pictures(2, 32, 32, 3)
    with no_grad():
        x = network.layers[0](Tensor(images))
        pooled = network.layers[1](x)
        y = network.layers[2](pooled).data
    y[..., :8] += pooled.data[:, ::2, ::2]
    y = np.where(y > 0, y, 0.1 * y)
    linear, norm = network.layers[4].layers[0].layers
    y = y.reshape(2, -1) @ linear.weight.data
    y = (y - norm.running_mean.data) / np.sqrt(norm.running_variance.data + 1e-5) * norm.gamma.data + norm.beta.data
    y = np.where(y > 0, y, 0.1 * y)
    last = network.layers[6].layers[0]
    y = 1 / (1 + np.exp(-(y @ last.weight.data + last.bias.data)))
    exponentials = np.exp(y.reshape(2, 2, 5) / 1.5)
    wanted = (exponentials / exponentials.sum(-1, keepdims=True)).reshape(2, 10)
    np.testing.assert_allclose(outputs_of(network, images)[0], wanted, rtol=2e-5)


def test_heads_come_in_the_order_of_the_plan():
    network = configured(DETECTOR)
    assert network.strides == (4, 2)
    assert [head.shape for head in outputs_of(network, pictures(2, 32, 32, 3))] == [(2, 8, 8, 16), (2, 16, 16, 16)]
    assert network.anchors[0].tolist() == [[13, 20], [30, 25]]


@pytest.mark.parametrize("activation", ["linear", "leaky", "relu", "logistic"])
@pytest.mark.parametrize("batch_normalize", [True, False])
def test_activations(activation, batch_normalize):
    network = configured([conv(4, 3, 1, batch_normalize, activation)], (4, 5, 3))
    straight = configured([conv(4, 3, 1, batch_normalize, "linear")], (4, 5, 3))
    images = pictures(1, 4, 5, 3) - np.float32(0.5)
    (y,), (x,) = outputs_of(network, images), outputs_of(straight, images)
    functions = {
        "linear": lambda x: x,
        "leaky": lambda x: np.where(x > 0, x, 0.1 * x),
        "relu": lambda x: np.maximum(x, 0),
        "logistic": lambda x: 1 / (1 + np.exp(-x)),
    }
    np.testing.assert_allclose(y, functions[activation](x), rtol=1e-5, atol=1e-6)


def test_maps_that_no_layer_reads_any_more_are_let_go():
    # 20 times the same: a sum with the map before the last.  Only the newest few may be alive at any time.
    kind_list = [conv(8, 1)]
    for _ in range(20):
        kind_list += [conv(8, 1), kinds.Shortcut(len(kind_list) - 1, "linear")]
    network = configured(kind_list)
    alive, most = [], 0

    def count(module, inputs, output):
        nonlocal most
        alive.append(weakref.ref(output))
        most = max(most, len({id(each()) for each in alive if each() is not None}))

    with observe(count):
        outputs_of(network, pictures(1, 32, 32, 3))
    assert most <= 5


@pytest.mark.parametrize(
    ("kind", "shape"),
    [
        (kinds.MaxPool(3, 2, 0), (3, 5, 4)),  # (7 + 0 - 3) // 2 + 1, ...
        (kinds.MaxPool(2, 2, 0), (3, 6, 4)),
        (kinds.MaxPool(2, 3, 2), (3, 5, 4)),
        (kinds.Upsample(3), (21, 36, 4)),
        (kinds.Convolutional(2, 3, 3, 2, False, "linear"), (3, 5, 2)),
    ],
    ids=str,
)
def test_the_numbers_of_a_layer_reach_its_operation(kind, shape):
    first, images = conv(4, 1), pictures(1, 7, 12, 3)
    network = configured([first, kind], (7, 12, 3))
    (y,) = outputs_of(network, images)
    assert network.plan.layers[-1].output_shape == shape
    (x,) = outputs_of(configured([first], (7, 12, 3)), images)
    x = x.reshape(1, 7, 12, 4)
    if isinstance(kind, kinds.MaxPool):
        wanted = naive.maxpool2d(x, kind.size, kind.stride, kind.padding)
    elif isinstance(kind, kinds.Upsample):
        wanted = x.repeat(3, axis=1).repeat(3, axis=2)
    else:
        layer = network.layers[1]
        wanted = naive.conv2d(x, layer.weight.data, layer.bias.data, (3, 3), (2, 2))
    np.testing.assert_allclose(y.reshape(wanted.shape), wanted, rtol=1e-5, atol=1e-6)


def test_the_probability_of_dropout():
    network = configured([conv(8, 1, 1, False, "linear"), kinds.Dropout(0.1)], (40, 40, 3)).train()
    y = network(Tensor(pictures(1, 40, 40, 3))).data
    assert np.mean(y == 0) == pytest.approx(0.1, abs=0.02)


@pytest.mark.parametrize("kind_list", [DETECTOR, CLASSIFIER], ids=["detector", "classifier"])
def test_gradients_reach_every_parameter(kind_list):
    network = configured(kind_list)
    network.train()
    outputs = network(Tensor(pictures(2, 32, 32, 3)))
    rng = np.random.default_rng(3)
    total = Tensor(np.zeros((), np.float32))
    for output in outputs if isinstance(outputs, tuple) else (outputs,):
        total = total + (output * Tensor(rng.standard_normal(output.shape).astype(np.float32))).sum()
    total.backward()
    assert all(np.abs(parameter.grad).max() > 0 for parameter in network.parameters())


def test_gradients_of_a_small_network():
    kind_list = [
        conv(4, 3, 2, activation="logistic"),
        conv(4, 1, 1, activation="linear"),
        kinds.Shortcut(0, "linear"),
        kinds.Reorg(2),
        kinds.Route((3, 3)),
        conv(8, 1, 1, False, "linear"),
        kinds.Region(((1, 1),), 3, True),
    ]
    network = configured(kind_list, (8, 12, 3)).astype(np.float64)
    gradcheck(lambda x, *_: network(x)[0], np.random.default_rng(4).random((2, 8, 12, 3)), *network.parameters())


def test_a_seed_repeats_the_first_weights():
    plan = make_plan(DETECTOR, (32, 32, 3))
    first, second, other = (ConfiguredNetwork(plan, seed).layers[0].conv.weight.data for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, second)
    assert not np.array_equal(first, other)


def test_the_batch_norm_rule_is_an_argument():
    network = configured(DETECTOR).configure_batchnorm(rule=nn.OPENCV)
    norms = [module for _, module in network.named_modules() if isinstance(module, nn.BatchNorm)]
    assert {norm.rule for norm in norms} == {nn.OPENCV}
    assert len(norms) == 5


def test_tiny_by_hand_has_the_masks_of_todays_cfg():
    assert [group.tolist()[0] for group in YOLOv3Tiny().anchors] == [[81, 82], [10, 14]]
