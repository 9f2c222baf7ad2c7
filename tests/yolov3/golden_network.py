"""Golden parameters in our networks, and our networks' numbers in the order of the golden files.

The golden files keep the original program's order: layers as in its configuration, weights
(out, in, height, width), activations (channels, height, width).  Only this module converts.
"""

import json

import numpy as np

from minidl import Tensor, nn, no_grad
from minidl.nn.module import observe
from tests.hashing import hash_image, make_tensor
from yolov3.anchors import PUBLISHED_TINY_ANCHORS
from yolov3.blocks import ConvBlock, ResidualBlock
from yolov3.fpn import TopDown
from yolov3.image import letterbox
from yolov3.model import DetectionNetwork

# role in a golden table -> attribute of the layer that holds it; a convolution without batch norm has a bias
NORM_ROLES = {"bias": "beta", "scale": "gamma", "mean": "running_mean", "var": "running_variance"}
CONV_ROLES = {"bias": "bias", "weight": "weight"}

# type of a layer in a table -> the module whose output is that layer's.  A convolution's is that of its batch norm;
# one without batch norm, and the linear layer, are told from the others by their bias.
LAYER_MODULES = {
    "convolutional": "BatchNorm",
    "shortcut": "ResidualBlock",
    "maxpool": "MaxPool2d",
    "upsample": "Upsample",
    "route": "TopDown",
    "avgpool": "GlobalAveragePool",
}


class MiniNetwork(DetectionNetwork):
    """The golden network ``mini``: 28 layers in the original's counting, four residual blocks, strides 16 and 8.

    Comments give shapes for the 96x96 pictures that it is trained with.
    """

    strides = (16, 8)

    def __init__(self):
        rng = np.random.default_rng(0)
        self.set_scales(3, {16: PUBLISHED_TINY_ANCHORS[32], 8: PUBLISHED_TINY_ANCHORS[16]})
        self.stem = ConvBlock(3, 8, 3, rng=rng)
        self.stage_2 = nn.Sequential(ConvBlock(8, 16, 3, 2, rng), ResidualBlock(16, rng))
        self.stage_4 = nn.Sequential(ConvBlock(16, 32, 3, 2, rng), ResidualBlock(32, rng), ResidualBlock(32, rng))
        self.stage_8 = nn.Sequential(ConvBlock(32, 64, 3, 2, rng), ResidualBlock(64, rng))
        self.reduce = nn.Sequential(ConvBlock(64, 128, 3, 2, rng), ConvBlock(128, 64, 1, 1, rng))
        self.expand_16 = ConvBlock(64, 128, 3, rng=rng)
        self.output_16 = nn.Conv2d(128, self.outputs()[0], 1, rng=rng)
        self.top_down = TopDown(64, 64, rng=rng)
        self.expand_8 = ConvBlock(self.top_down.outputs, 64, 3, rng=rng)
        self.output_8 = nn.Conv2d(64, self.outputs()[1], 1, rng=rng)

    def forward(self, images):
        x_15 = self.stage_8(self.stage_4(self.stage_2(self.stem(images))))  # (batch, 12, 12, 64)
        x_17 = self.reduce(x_15)  # (batch, 6, 6, 64)
        logits_16 = self.output_16(self.expand_16(x_17))  # (batch, 6, 6, 24)
        x_24 = self.top_down(x_17, x_15)  # (batch, 12, 12, 32 + 64)
        logits_8 = self.output_8(self.expand_8(x_24))  # (batch, 12, 12, 24)
        return logits_16, logits_8


# ------------------------------------------------------------------------------------- parameters


def load_table(folder, name):
    """A table of layers and tensors, such as ``yolov3-tiny``, from the folder ``tables`` of golden numbers."""
    return json.loads((folder / "tables" / f"{name}.json").read_text())


def load_parameters(model, table, seed):
    """Set every parameter and running statistic of a network to the values of the recipe."""
    slots = golden_slots(model, table)
    for entry in table["tensors"]:
        holder = slots[entry["name"]]
        values = from_file_layout(make_tensor(entry, seed), holder.data.ndim)
        assert values.shape == holder.data.shape, f"{entry['name']}: {values.shape}, ours {holder.data.shape}"
        holder.data = np.ascontiguousarray(values)
    return model


def golden_slots(model, table):
    """``{name in the table: our Parameter or Buffer}``: the table's layers are ours in the order of attributes."""
    layers = []  # one (convolution or linear layer, batch norm or None) for every layer with weights
    for _, module in model.named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            layers.append((module, None))
        elif isinstance(module, nn.BatchNorm):
            layers[-1] = (layers[-1][0], module)
    numbers = sorted({entry["layer"] for entry in table["tensors"]})
    by_number = dict(zip(numbers, layers, strict=True))
    slots = {}
    for entry in table["tensors"]:
        conv, norm = by_number[entry["layer"]]
        role = entry["role"]
        in_norm = norm is not None and role in NORM_ROLES
        slots[entry["name"]] = getattr(norm, NORM_ROLES[role]) if in_norm else getattr(conv, CONV_ROLES[role])
    return slots


def from_file_layout(array, ndim):
    """(out, in, height, width) -> (height, width, in, out), or (in, out) for a linear layer; vectors as they are."""
    if array.ndim == 1:
        return array
    return array.transpose(2, 3, 1, 0) if ndim == 4 else array[:, :, 0, 0].T


def to_file_layout(array):
    """The way back, for parameters and their gradients."""
    return array.transpose(3, 2, 0, 1) if array.ndim == 4 else array.T


def channels_first(activation):
    """(batch, height, width, channels) -> (batch, channels, height, width)."""
    return np.moveaxis(activation, -1, 1)


# ------------------------------------------------------------------------------------ activations


def golden_input(size):
    """The letterboxed picture behind the golden files, (1, size, size, 3), and its frame."""
    picture, frame = letterbox(hash_image(640, 480, seed=101), size, size)
    return picture[None], frame


def run_and_watch(model, images, table):
    """The network's output for images, and ``{layer number: output}`` of the table's layers for the first picture.

    Outputs are (channels, height, width).  Left out are routes that only copy, and the yolo and softmax layers,
    which our networks leave to what comes after them.
    """
    outputs = {kind: [] for kind in (*LAYER_MODULES.values(), "with bias")}

    def record(module, inputs, output):
        kind = "with bias" if getattr(module, "bias", None) is not None else type(module).__name__
        if kind in outputs:
            outputs[kind].append(output.data[0])

    model.eval()
    with observe(record), no_grad():
        result = model(Tensor(images))
    found = {}
    for layer in table["layers"]:
        kind = LAYER_MODULES.get(layer["type"])
        if layer["type"] == "convolutional" and not layer["batch_normalize"]:
            kind = "with bias"
        if kind is None or (kind == "TopDown" and len(layer["from"]) == 1):
            continue
        output = outputs[kind].pop(0)
        found[layer["index"]] = np.moveaxis(output, -1, 0) if output.ndim == 3 else output[:, None, None]
    assert not any(outputs.values()), "layers ran that the table does not list"
    return result, found


def relative_error(found, wanted):
    """Largest difference in units of the largest number wanted."""
    return np.abs(found - wanted).max() / np.abs(wanted).max()
