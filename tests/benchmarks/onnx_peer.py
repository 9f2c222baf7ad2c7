"""Our network as an ONNX file, for ONNX Runtime and for OpenCV's dnn module.

Batch norm stays a node of its own, as programs that export networks write it; both readers fold it into the
convolution in front of it when they load the file.
"""

import numpy as np
import onnx
from onnx import helper, numpy_helper

from tests.benchmarks import wiring

OPSET, IR_VERSION = 13, 8  # old enough for every reader of today
INPUT = "images"


def onnx_file(model, image_size):
    """The bytes of an ONNX file and the names of its outputs, coarse to fine.

    Input ``images`` (1, 3, height, width); outputs (1, outputs, rows, columns), batch and channels first as in all of
    ONNX.  ``image_size``: (height, width).
    """
    graph = _Graph()
    heads = wiring.run(model, INPUT, graph)
    height, width = image_size
    whole = helper.make_graph(
        graph.nodes,
        "detector",
        [helper.make_tensor_value_info(INPUT, onnx.TensorProto.FLOAT, [1, 3, height, width])],
        [
            helper.make_tensor_value_info(
                head, onnx.TensorProto.FLOAT, [1, channels, height // stride, width // stride]
            )
            for head, channels, stride in zip(heads, model.outputs(), model.strides, strict=True)
        ],
        graph.constants,
    )
    file = helper.make_model(whole, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    onnx.checker.check_model(file)
    return file.SerializeToString(), list(heads)


class _Graph:
    """Collects nodes; a peer in the sense of :mod:`tests.benchmarks.wiring` whose ``x`` are names."""

    def __init__(self):
        self.nodes, self.constants = [], []

    def block(self, block, x):
        x, norm = self.convolution(block.conv, x), block.norm
        values = (norm.gamma.data, norm.beta.data, norm.running_mean.data, norm.running_variance.data)
        x = self._node("BatchNormalization", x, *map(self._constant, values), epsilon=norm.rule.epsilon)
        return self._node("LeakyRelu", x, alpha=norm.slope)

    def convolution(self, layer, x):
        values = [layer.weight.data.transpose(3, 2, 0, 1)]  # (out, in, height, width)
        if layer.bias is not None:
            values.append(layer.bias.data)
        return self._node(
            "Conv",
            x,
            *map(self._constant, values),
            kernel_shape=list(layer.weight.shape[:2]),
            strides=[layer.stride] * 2,
            pads=[layer.padding] * 4,
        )

    def add(self, a, b):
        return self._node("Add", a, b)

    def concat(self, a, b):
        return self._node("Concat", a, b, axis=1)

    def upsample(self, x):
        scales = self._constant(np.array([1, 1, 2, 2], np.float32))
        how = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
        return self._node("Resize", x, "", scales, **how)

    def maxpool(self, x, size, stride):
        missing = size - stride  # places right and below; none at stride 2, because all sides are even
        return self._node("MaxPool", x, kernel_shape=[size] * 2, strides=[stride] * 2, pads=[0, 0, missing, missing])

    def _node(self, kind, *inputs, **attributes):
        output = f"{kind}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [output], name=f"node_{output}", **attributes))
        return output

    def _constant(self, array):
        name = f"constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(array, np.float32), name))
        return name
