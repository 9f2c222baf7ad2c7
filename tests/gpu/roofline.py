"""What a convolution needs at least: the time of its multiplications, or of moving its numbers, whichever is longer."""

from collections import Counter

import numpy as np

from minidl import nn
from minidl.inference.groups import Convolution, group
from minidl.kernels.shapes import pair
from tests.benchmarks.layers import Layer

BYTES = {"fp32": 4, "tf32": 4, "fp16": 2}


def layers_of(model, shape):
    """``{Layer: how often it occurs}`` for images (batch, height, width, 3); the model is on the CPU."""
    operations = group(nn.trace(model, shape[1:]))
    return Counter(_layer(each, shape[0]) for each in operations if isinstance(each, Convolution))


def _layer(convolution, batch):
    layer = convolution.layer
    shapes = (batch, *convolution.input_shape), (batch, *convolution.output_shape)
    return Layer(layer.weight.shape, pair(layer.stride, "stride")[0], pair(layer.padding, "padding")[0], *shapes)


def moved_bytes(layer, precision):
    """Input, weight and output once each; the same for either gradient."""
    shapes = layer.input_shape, layer.weight_shape, layer.output_shape
    return BYTES[precision] * sum(int(np.prod(shape)) for shape in shapes)


def least_seconds(layer, precision, ceilings):
    """By the ceilings that were measured (:mod:`tests.gpu.environment`); None where the precision's is missing."""
    if precision not in ceilings:
        return None
    return max(layer.operations / ceilings[precision], moved_bytes(layer, precision) / ceilings["bytes"])


def figures(layers, precision, seconds, ceilings, passes=1):
    """What a time says about the convolutions of a network: ``{"ms", "tflops", "gb_per_s", "of_roofline"}``.

    passes: 1 for a forward pass, 3 with both gradients.  Everything else that the network does takes time as well, but
    counts for nothing here: the shares are lower bounds.
    """
    operations = passes * sum(count * layer.operations for layer, count in layers.items())
    moved = passes * sum(count * moved_bytes(layer, precision) for layer, count in layers.items())
    found = {"ms": 1e3 * seconds, "tflops": operations / seconds / 1e12, "gb_per_s": moved / seconds / 1e9}
    if precision in ceilings:
        least = passes * sum(count * least_seconds(each, precision, ceilings) for each, count in layers.items())
        found["of_roofline"] = least / seconds
    return found
