"""Each kind of layer in ONNX's terms, one function per kind: (graph, node, names of its inputs) -> name of its output.

``graph`` is that of :mod:`yolov3.onnx_export`, ``node`` a :class:`minidl.nn.Node`.  ONNX has a map's channels before
its height and width, so weights are transposed here; vectors are the same in both.
"""

from math import prod

import numpy as np

from minidl import nn
from yolov3.blocks import LINEAR
from yolov3.darknet.blocks import AvgPool, Connected, Flatten, Logistic, Reorg, Softmax


def _convolution(graph, node, x):
    layer = node.module
    weight = layer.weight.data.transpose(3, 2, 0, 1)  # (out, in, height, width)
    return graph.apply(
        "Conv",
        x,
        *_weight_and_bias(graph, weight, layer.bias),
        kernel_shape=list(weight.shape[2:]),
        strides=_pair(layer.stride),
        pads=_pair(layer.padding) * 2,
    )


def _connected(graph, node, x):
    """A convolution whose kernel is as large as the map."""
    layer = node.module
    weight = layer.weight.data.reshape(*layer.map_shape, -1).transpose(3, 2, 0, 1)  # (out, in, height, width)
    return graph.apply("Conv", x, *_weight_and_bias(graph, weight, layer.bias), kernel_shape=list(weight.shape[2:]))


def _linear(graph, node, x):
    layer = node.module
    return graph.apply("Gemm", x, *_weight_and_bias(graph, layer.weight.data, layer.bias))


def _batchnorm(graph, node, x):
    """Batch norm, then its leaky ReLU.

    ONNX divides by ``sqrt(variance + epsilon)``.  For a rule with epsilon outside the root, the file's epsilon is 0
    and its variance the square of the rule's divisor, which is never too small for float32.
    """
    layer = node.module
    variance, epsilon = layer.running_variance.data, layer.rule.epsilon
    if layer.rule.epsilon_outside_root:
        variance, epsilon = layer.rule.divisor(variance.astype(np.float64)) ** 2, 0.0
    gamma, beta = graph.constant("gamma", layer.gamma.data), graph.constant("beta", layer.beta.data)
    mean = graph.constant("running_mean", layer.running_mean.data)
    variance = graph.constant("running_variance", variance)
    y = graph.apply("BatchNormalization", x, gamma, beta, mean, variance, epsilon=epsilon)
    return _leaky(graph, y, layer.slope)


def _leaky_relu(graph, node, x):
    return _leaky(graph, x, node.module.slope)


def _logistic(graph, node, x):
    return graph.apply("Sigmoid", x)


def _softmax(graph, node, x):
    """Of a vector, within each of its groups."""
    layer, channels = node.module, node.input_shapes[0][-1]
    x = graph.apply("Div", x, graph.constant("temperature", [layer.temperature]))
    x = graph.apply("Reshape", x, graph.integers("groups", 0, layer.groups, channels // layer.groups))
    x = graph.apply("Softmax", x, axis=2)
    return graph.apply("Reshape", x, graph.integers("shape", 0, channels, *node.output_shape[:-1]))


def _maxpool(graph, node, x):
    """The original's rule: of the padding in all, the smaller half lies left and above (spec 3.4)."""
    layer = node.module
    before, after = layer.padding // 2, layer.padding - layer.padding // 2
    pads = [before, before, after, after]
    return graph.apply("MaxPool", x, kernel_shape=[layer.size] * 2, strides=[layer.stride] * 2, pads=pads)


def _average_to_map(graph, node, x):
    return graph.apply("GlobalAveragePool", x)


def _average_to_vector(graph, node, x):
    return graph.apply("Flatten", graph.apply("GlobalAveragePool", x), axis=1)


def _upsample(graph, node, x):
    scales = graph.constant("scales", [1, 1, node.module.factor, node.module.factor])
    if node.module.mode == "nearest":
        how = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    else:
        how = {"mode": "linear", "coordinate_transformation_mode": "half_pixel"}
    return graph.apply("Resize", x, "", scales, **how)


def _concat(graph, node, *maps):
    return graph.apply("Concat", *maps, axis=1)


def _shortcut(graph, node, x, source):
    shape, source_shape = node.input_shapes
    if source_shape != shape:
        source = _fitted(graph, source, source_shape, shape)
    return _leaky(graph, graph.apply("Add", x, source), node.module.slope)


def _fitted(graph, x, shape, wanted):
    """A map of another size as :func:`minidl.ops.shortcut` adds it: pixels left out, or zeros between and behind."""
    step, spread = max(1, shape[0] // wanted[0]), max(1, wanted[0] // shape[0])  # one of them is 1
    rows, columns, channels = map(min, shape, wanted)  # as many as both have
    starts = graph.integers("starts", 0, 0, 0)
    ends = graph.integers("ends", channels, (rows - 1) * step + 1, (columns - 1) * step + 1)
    axes, steps = graph.integers("axes", 1, 2, 3), graph.integers("steps", 1, step, step)
    x = graph.apply("Slice", x, starts, ends, axes, steps)
    if spread > 1:  # every pixel becomes the first of a square, the rest of which is 0
        square = np.zeros((channels, 1, spread, spread))
        square[..., 0, 0] = 1
        x = graph.apply("ConvTranspose", x, graph.constant("square", square), group=channels, strides=[spread] * 2)
    missing = wanted[2] - channels, wanted[0] - rows * spread, wanted[1] - columns * spread
    return graph.apply("Pad", x, graph.integers("missing", 0, 0, 0, 0, 0, *missing))


def _reorg(graph, node, x):
    """The original reads its buffer as fewer channels of a larger map, and only then moves pixels to channels."""
    (height, width, channels), stride = node.input_shapes[0], node.module.stride
    rows, columns, outputs = node.output_shape
    larger = graph.integers("larger", 0, channels // stride**2, height * stride, width * stride)
    x = graph.apply("SpaceToDepth", graph.apply("Reshape", x, larger), blocksize=stride)
    return graph.apply("Reshape", x, graph.integers("smaller", 0, outputs, rows, columns))


def _flatten(graph, node, x):
    if prod(node.input_shapes[0][:-1]) > 1:  # a map of more than one pixel
        x = graph.apply("Transpose", x, perm=[0, 2, 3, 1])  # to our order, channels last
    return graph.apply("Flatten", x, axis=1)


def _weight_and_bias(graph, weight, bias):
    """The names of a layer's constants; ``bias`` is a parameter or None."""
    names = [graph.constant("weight", weight)]
    return names if bias is None else [*names, graph.constant("bias", bias.data)]


def _leaky(graph, x, slope):
    return x if slope == LINEAR else graph.apply("LeakyRelu", x, alpha=slope)


def _pair(value):
    """A stride or a padding, (vertical, horizontal)."""
    return np.broadcast_to(value, 2).tolist()


# Dropout is absent: a layer that only passes its input on, as it does in evaluation, leaves no trace.
TRANSLATIONS = {
    nn.Conv2d: _convolution,
    nn.BatchNorm: _batchnorm,
    nn.LeakyReLU: _leaky_relu,
    nn.Linear: _linear,
    nn.MaxPool2d: _maxpool,
    nn.GlobalAveragePool: _average_to_vector,
    nn.Upsample: _upsample,
    nn.Concat: _concat,
    nn.Shortcut: _shortcut,
    AvgPool: _average_to_map,
    Connected: _connected,
    Flatten: _flatten,
    Logistic: _logistic,
    Reorg: _reorg,
    Softmax: _softmax,
}
