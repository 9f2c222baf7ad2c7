"""Darknet-19 and the ResNets: exact counts, layer by layer, and the numbers that PyTorch makes of the facts."""

import json

import numpy as np
import pytest

from minidl import Tensor, nn, no_grad
from minidl.gradcheck import gradcheck
from tests.yolov3.golden_network import relative_error, to_file_layout
from yolov3.backbones import BACKBONES, BottleneckBlock, ResNetClassifier
from yolov3.blocks import DarknetNetwork

# name: operations at 256x256, trainable parameters, numbers of running statistics, convolutions, shortcuts, max pools.
# The last layer counts as a convolution, as in the original (spec 10).
COUNTS = {
    "darknet19": (7_290_748_928, 20_842_376, 14_400, 19, 0, 5),
    "darknet53": (18_570_231_808, 41_609_928, 35_712, 53, 23, 0),
    "resnet50": (9_741_172_736, 22_780_456, 45_440, 50, 16, 1),
    "resnet101": (19_696_451_584, 41_772_584, 97_664, 101, 33, 1),
    "resnet152": (29_393_682_432, 57_416_232, 143_744, 152, 50, 1),
}


@pytest.fixture(scope="module", params=COUNTS)
def backbone(request):
    """Name and network."""
    return request.param, BACKBONES[request.param](rng=np.random.default_rng(0))


def modules(model, kind):
    return [module for _, module in model.named_modules() if isinstance(module, kind)]


def test_counts(backbone):
    name, model = backbone
    operations, parameters, statistics, convolutions, shortcuts, max_pools = COUNTS[name]
    assert sum(row.operations for row in nn.layer_table(model, (256, 256, 3))) == operations
    assert model.parameter_count() == parameters
    assert sum(array.size for path, array in model.state_dict().items() if "running" in path) == statistics
    assert len(modules(model, nn.Conv2d | nn.Linear)) == convolutions
    assert len(modules(model, nn.BatchNorm)) == convolutions - 1
    assert len(modules(model, nn.Shortcut)) == shortcuts
    assert len(modules(model, nn.MaxPool2d)) == max_pools
    assert isinstance(model, DarknetNetwork)


def test_every_backbone_is_counted():
    assert BACKBONES.keys() == COUNTS.keys()


def test_operations_of_darknet19_at_448():
    rows = nn.layer_table(BACKBONES["darknet19"](), (448, 448, 3))
    assert sum(row.operations for row in rows) == 22_327_918_592


def test_logits_of_pictures_that_are_not_square(backbone):
    _, model = backbone
    images = np.random.default_rng(1).random((2, 32, 64, 3), dtype=np.float32)
    with no_grad():
        both, second = (model.eval()(Tensor(each)).data for each in (images, images[1:]))
    assert both.shape == (2, 1000)
    assert np.isfinite(both).all()
    assert relative_error(second[0], both[1]) < 1e-5  # a picture's logits do not depend on its neighbours
    assert relative_error(both[0], both[1]) > 1e-3


@pytest.mark.parametrize("name", ["darknet19", "resnet50", "resnet101"])
def test_number_of_classes_and_the_seed(name):
    first, again = (BACKBONES[name](classes=7, rng=np.random.default_rng(3)) for _ in range(2))
    assert first.output.bias.shape == (7,)
    arrays = again.state_dict()
    assert all(np.array_equal(array, arrays[path]) for path, array in first.state_dict().items())


# ------------------------------------------------------------------------------- against the facts


def structure(shared, name):
    """The layers of a network as facts read from the original's file."""
    return json.loads((shared / "golden" / "structures" / f"{name}.json").read_text())["layers"]


def rows_of(layers):
    """What a layer table should list for these facts: kind, kernel, (height, width, channels) of the output."""
    for layer in layers:
        channels, height, width = layer["output"]
        vector = (height, width) == (1, 1)
        kernel = f"{layer.get('size')}x{layer.get('size')} / {layer.get('stride')}"
        if layer["type"] == "convolutional":
            # A 1x1 convolution on a single place is our linear layer.
            yield ("Linear", "", (channels,)) if vector else ("Conv2d", kernel, (height, width, channels))
        elif layer["type"] == "maxpool":
            yield "MaxPool2d", kernel, (height, width, channels)
        elif layer["type"] == "shortcut":
            yield "Shortcut", "", (height, width, channels)
        elif layer["type"] == "avgpool":
            yield "GlobalAveragePool", "", (channels,)


@pytest.mark.parametrize("name", ["darknet19", "resnet50", "resnet101"])
def test_layers_are_those_of_the_original(shared, name):
    rows = nn.layer_table(BACKBONES[name](), (256, 256, 3))
    found = [(row.kind, row.kernel, row.output_shape) for row in rows if row.kind != "BatchNorm"]
    assert found == list(rows_of(structure(shared, name)))


def shake(model, rng):
    """Give every batch norm numbers of its own, such that the activations keep their size."""
    for norm in modules(model, nn.BatchNorm):
        for holder, low, high in ((norm.gamma, 0.5, 0.9), (norm.beta, -0.2, 0.2), (norm.running_mean, -0.2, 0.2)):
            holder.data = rng.uniform(low, high, norm.gamma.shape).astype(np.float32)
        norm.running_variance.data = rng.uniform(0.6, 1.4, norm.gamma.shape).astype(np.float32)
    for block in modules(model, BottleneckBlock):
        block.expand.norm.gamma.data *= np.float32(0.3)
    model.output.bias.data = rng.uniform(-1, 1, model.output.bias.shape).astype(np.float32)


def torch_logits(torch, model, layers, images):
    """What PyTorch, in float64, makes of the facts, with our arrays taken in the order of the state dict."""
    functional = torch.nn.functional
    arrays = iter(model.state_dict().values())

    def next_array():
        return torch.from_numpy(np.ascontiguousarray(next(arrays), np.float64))

    def convolution(x, layer):
        weight = next(arrays)
        if weight.ndim == 2:
            weight = weight[None, None]
        weight = torch.from_numpy(np.ascontiguousarray(to_file_layout(weight), np.float64))
        if not layer["batch_normalize"]:
            return functional.conv2d(x, weight, next_array(), layer["stride"], layer["padding"])
        x = functional.conv2d(x, weight, None, layer["stride"], layer["padding"])
        gamma, beta, mean, variance = (next_array() for _ in range(4))
        return functional.batch_norm(x, mean, variance, gamma, beta, eps=1e-5)

    def shortcut(x, source):
        step = source.shape[2] // x.shape[2]
        source = source[:, :, ::step, ::step]
        return x + functional.pad(source, (0, 0, 0, 0, 0, x.shape[1] - source.shape[1]))

    x = torch.from_numpy(images.astype(np.float64)).permute(0, 3, 1, 2)
    outputs = []
    for layer in layers:
        if layer["type"] == "convolutional":
            x = convolution(x, layer)
        elif layer["type"] == "shortcut":
            x = shortcut(x, outputs[layer["from"]])
        elif layer["type"] == "maxpool":
            x = functional.max_pool2d(x, layer["size"], layer["stride"])  # for even sizes the original's rule
        elif layer["type"] == "avgpool":
            x = x.mean((2, 3), keepdim=True)
        if layer.get("activation") == "leaky":
            x = functional.leaky_relu(x, 0.1)
        outputs.append(x)
    assert next(arrays, None) is None, "arrays are left over"
    return x[:, :, 0, 0].numpy()


@pytest.mark.parametrize("name", ["darknet19", "resnet50", "resnet101"])
def test_logits_equal_those_of_pytorch(shared, name):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(5)
    model = BACKBONES[name](rng=rng).eval()
    shake(model, rng)
    images = rng.random((1, 64, 96, 3), dtype=np.float32)
    with no_grad():
        found = model(Tensor(images)).data
    wanted = torch_logits(torch, model, structure(shared, name), images)
    assert relative_error(found, wanted) < 1e-5


# ----------------------------------------------------------------------------------------- pieces


def bottleneck(inputs, channels, stride):
    block = BottleneckBlock(inputs, channels, stride, np.random.default_rng(2)).astype(np.float64)
    return block.eval()


def naive_convolution(x, weight, stride):
    """(height, width, inputs) with loops over every output number; zeros outside; padding ``size // 2``."""
    size, _, inputs, outputs = weight.shape
    height, width = -(-x.shape[0] // stride), -(-x.shape[1] // stride)
    y = np.zeros((height, width, outputs))
    for row, column, u, v in np.ndindex(height, width, size, size):
        i, j = row * stride + u - size // 2, column * stride + v - size // 2
        if 0 <= i < x.shape[0] and 0 <= j < x.shape[1]:
            for c, o in np.ndindex(inputs, outputs):
                y[row, column, o] += x[i, j, c] * weight[u, v, c, o]
    return y


def leaky(x):
    return np.where(x > 0, x, 0.1 * x)


@pytest.mark.parametrize(("inputs", "channels", "stride"), [(8, 2, 1), (3, 2, 1), (4, 2, 2)])
def test_bottleneck_block_with_loops(inputs, channels, stride):
    block = bottleneck(inputs, channels, stride)
    x = np.random.default_rng(4).standard_normal((4, 6, inputs))
    scale = 1 / np.sqrt(1 + 1e-5)  # of a batch norm that was never trained
    g = leaky(scale * naive_convolution(x, block.reduce.conv.weight.data, 1))
    g = leaky(scale * naive_convolution(g, block.transform.conv.weight.data, stride))
    g = scale * naive_convolution(g, block.expand.conv.weight.data, 1)  # linear: the leaky ReLU follows the sum
    for row, column, c in np.ndindex(*g.shape[:2], inputs):
        g[row, column, c] += x[row * stride, column * stride, c]
    np.testing.assert_allclose(block(Tensor(x[None])).data[0], leaky(g), rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize(("inputs", "stride"), [(8, 1), (4, 2)])
def test_gradients_of_a_bottleneck_block(inputs, stride):
    block = bottleneck(inputs, 2, stride)
    x = np.random.default_rng(6).standard_normal((2, 4, 4, inputs))
    gradcheck(lambda x, *_: block(x), x, *block.parameters())


def test_mean_before_or_after_the_last_layer_gives_the_same_logits():
    before, after = (ResNetClassifier((1, 1, 1, 1), 5, first, np.random.default_rng(7)) for first in (True, False))
    weights = before.state_dict()
    weights["output.weight"] = weights["output.weight"][None, None]  # (2048, 5) -> (1, 1, 2048, 5)
    after.load_state_dict(weights)
    images = Tensor(np.random.default_rng(8).random((2, 64, 96, 3), dtype=np.float32))
    with no_grad():
        assert relative_error(after.eval()(images).data, before.eval()(images).data) < 1e-5
    tables = [nn.layer_table(each, (256, 256, 3)) for each in (before, after)]
    costs = [next(row.operations for row in table if row.path == "output") for table in tables]
    assert costs == [2 * 2048 * 5, 2 * 2048 * 5 * 64]
