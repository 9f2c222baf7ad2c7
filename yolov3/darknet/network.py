"""A network that runs, built from a plan, out of the same blocks as the networks written in Python."""

import numpy as np

from minidl import nn
from yolov3.blocks import LEAKY_SLOPE, LINEAR, ConvBlock
from yolov3.darknet import kinds
from yolov3.darknet.blocks import AvgPool, Connected, Flatten, Logistic, Reorg, Softmax
from yolov3.model import DetectionNetwork

SLOPES = {"linear": LINEAR, "leaky": LEAKY_SLOPE, "relu": 0.0}  # all three are leaky ReLUs


class ConfiguredNetwork(DetectionNetwork):
    """The network of a :class:`yolov3.darknet.plan.Plan`: one module per layer, None where nothing is computed.

    A detector returns its heads in the order of the plan; a classifier what its last layer gives, (batch, classes),
    probabilities where that is a softmax.  ``classes`` is 0 for a classifier.

    Parameters
    ----------
    plan: of the network
    seed: of the first weights
    """

    def __init__(self, plan, seed=None):
        rng = np.random.default_rng(seed)
        self.plan = plan
        heads = plan.detections
        self.classes = heads[0].kind.classes if heads else 0
        self.strides = tuple(plan.input_shape[0] // head.input_shape[0] for head in heads)
        self.anchors = tuple(_anchors_in_pixels(*each) for each in zip(heads, self.strides, strict=True))
        self.one_class_per_box = bool(heads) and getattr(heads[0].kind, "softmax", False)
        self.layers = [_BUILDERS[type(layer.kind)](layer, rng) for layer in plan.layers]
        self.flatten = Flatten()
        self._last_use = {source: layer.index for layer in plan.layers for source in layer.kind.sources}

    def forward(self, images):
        x, kept, heads = images, {}, []
        for layer, module in zip(self.plan.layers, self.layers, strict=True):
            sources = [kept[source] for source in layer.kind.sources]
            if isinstance(layer.kind, kinds.Detection):
                heads.append(x)
            elif isinstance(layer.kind, kinds.Route):
                x = module(*sources) if module else sources[0]
            elif module is not None:
                x = module(x, *sources)
            if layer.index in self._last_use:
                kept[layer.index] = x
            for source in layer.kind.sources:
                if self._last_use[source] == layer.index:
                    kept.pop(source, None)  # a map that no later layer reads need not stay in memory
        return tuple(heads) if heads else self.flatten(x)


def _anchors_in_pixels(head, stride):
    """(anchors, 2); a region layer's are in cells."""
    sizes = np.array(head.kind.own_anchors, np.float32)
    return sizes * np.float32(stride) if isinstance(head.kind, kinds.Region) else sizes


# ---------------------------------------------------------------- one builder per kind: (layer, rng) -> module


def _convolutional(layer, rng):
    kind, inputs = layer.kind, layer.input_shape[2]
    if kind.batch_normalize:
        # Batch norm takes the slope along, as in the networks written in Python.
        slope = SLOPES.get(kind.activation, LINEAR)
        block = ConvBlock(inputs, kind.filters, kind.size, kind.stride, rng, slope, kind.padding)
        return nn.Sequential(block, Logistic()) if kind.activation == "logistic" else block
    convolution = nn.Conv2d(inputs, kind.filters, kind.size, kind.stride, kind.padding, rng=rng)
    return _activated(convolution, kind.activation)


def _connected(layer, rng):
    kind = layer.kind
    connected = Connected(layer.input_shape, kind.output, not kind.batch_normalize, rng)
    if kind.batch_normalize:
        connected = nn.Sequential(connected, nn.BatchNorm(kind.output))
    return _activated(connected, kind.activation)


def _activated(module, activation):
    if activation == "linear":
        return module
    return nn.Sequential(module, Logistic() if activation == "logistic" else nn.LeakyReLU(SLOPES[activation]))


def _shortcut(layer, rng):
    return nn.Shortcut(SLOPES[layer.kind.activation])


def _nothing(layer, rng):
    return None


_BUILDERS = {
    kinds.Convolutional: _convolutional,
    kinds.Connected: _connected,
    kinds.Shortcut: _shortcut,
    kinds.Route: lambda layer, rng: nn.Concat() if len(layer.kind.sources) > 1 else None,
    kinds.Upsample: lambda layer, rng: nn.Upsample(layer.kind.stride),
    kinds.MaxPool: lambda layer, rng: nn.MaxPool2d(layer.kind.size, layer.kind.stride, layer.kind.padding),
    kinds.AvgPool: lambda layer, rng: AvgPool(),
    kinds.Softmax: lambda layer, rng: Softmax(layer.kind.groups, layer.kind.temperature),
    kinds.Dropout: lambda layer, rng: nn.Dropout(layer.kind.probability, rng),
    kinds.Reorg: lambda layer, rng: Reorg(layer.kind.stride),
    kinds.Cost: _nothing,
    kinds.Yolo: _nothing,
    kinds.Region: _nothing,
}
