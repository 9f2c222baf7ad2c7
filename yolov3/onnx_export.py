"""A network as an ONNX file, for the many programs that run those.

The layers and their connections are found by watching the network run (:func:`minidl.nn.trace`); what each becomes is
written in :mod:`yolov3.onnx_layers`.
"""

import json
from collections import Counter

import numpy as np

from minidl import nn
from minidl.nn.graph import IMAGES
from yolov3.darknet.blocks import Flatten, Logistic, Softmax
from yolov3.darknet.network import ConfiguredNetwork
from yolov3.errors import UserError
from yolov3.model import DetectionNetwork, check_image_size
from yolov3.onnx_layers import TRANSLATIONS
from yolov3.runs import write_file

OPSET, IR_VERSION = 13, 8  # old enough for every reader of today
INPUT = "images"
BATCH = "batch"  # name of the one size that the file leaves open

INPUT_FORM = "RGB, 0 to 1"
LETTERBOX = ", the whole picture fitted into height x width without distortion and centred, the rest 0.5"
DECODING = (
    "Channels per anchor: tx, ty, tw, th, objectness, classes. "
    "Centre in pixels of the input: ((column + sigmoid(tx)) * stride, (row + sigmoid(ty)) * stride). "
    "Width and height: anchor width * e^tw, anchor height * e^th. "
    "Score of a class: sigmoid(objectness) * {probability}(classes)."
)


def export_onnx(model, path, image_size, names=None):
    """Write the network to the ``.onnx`` file ``path``.

    Input ``images``: (batch, 3, height, width), RGB in [0, 1].  Outputs, channels first as in all of ONNX:

    - a detector's heads ``logits_32``, ``logits_16``, ... by stride, in the network's order: raw numbers (batch,
      channels, rows, columns), to be decoded as in :mod:`yolov3.decode` and freed of duplicates by the reader;
    - a classifier's ``logits``, or ``probabilities`` where a softmax or a logistic comes last: (batch, classes).

    The batch is open, height and width are fixed.  The file's metadata say how to use it: ``input``, ``names``, and
    of a detector ``strides``, ``anchors`` (per head, in pixels of the input) and ``decoding``; the lists are JSON.

    Parameters
    ----------
    model: a detector or classifier, hand-written or configured; it is exported as in evaluation mode
    path: of the file
    image_size: (height, width) of the pictures in pixels
    names: of the classes, for the metadata

    Raises UserError where the package onnx is missing, where the size does not suit the network, where the number of
    names is not that of the classes, for a layer without translation, and where the file cannot be written.
    """
    content = to_onnx(model, image_size, names).SerializeToString()
    write_file(path, lambda file: file.write(content))


def to_onnx(model, image_size, names=None):
    """What :func:`export_onnx` writes, as an ``onnx.ModelProto``; arguments and errors are the same."""
    onnx = _import_onnx()
    input_shape = _input_shape(model, image_size)
    nodes, outputs = _trace(model, input_shape)
    graph = _Graph(onnx)
    values = {IMAGES: INPUT}  # number of a node -> name of its output in the file
    for number, node in enumerate(nodes):
        values[number] = graph.add_layer(node, [values.get(each) for each in node.inputs])
    for name, number in zip(_output_names(model, nodes, len(outputs)), outputs, strict=True):
        graph.add_output(name, values[number], nodes[number].output_shape)
    classes = _class_count(model, nodes[outputs[0]])
    if names is not None and len(names) != classes:
        raise UserError(f"{len(names)} names for a network of {classes} classes: give one name per class")
    return graph.finish(input_shape, _metadata(model, names))


def _import_onnx():
    try:
        import onnx
    except ImportError as error:
        raise UserError(
            "ONNX files need the package onnx, which is not installed: run pip install -e '.[onnx]'"
        ) from error
    return onnx


def _input_shape(model, image_size):
    """(height, width, channels) of the pictures.  Raises UserError where the network cannot have them."""
    if isinstance(model, ConfiguredNetwork):
        return model.plan.resized(*image_size).input_shape
    return *check_image_size(image_size), 3


def _trace(model, input_shape):
    """:func:`minidl.nn.trace`.  Raises UserError for a size that does not fit, and for what no layer made."""
    try:
        graph = nn.trace(model, input_shape)
        nodes, outputs = graph.nodes, graph.outputs
    except ValueError as error:
        raise UserError(f"the network does not run on {input_shape[0]}x{input_shape[1]} pictures: {error}") from error
    for node in nodes:
        if None in node.inputs:
            raise UserError(f"{node.path} reads what no layer made: build it of layers to export it")
    if None in outputs or IMAGES in outputs:
        raise UserError("an output of the network was made by no layer: build it of layers to export it")
    return nodes, outputs


def _is_detector(model):
    return isinstance(model, DetectionNetwork) and len(model.strides) > 0


def _output_names(model, nodes, count):
    if _is_detector(model):
        return [f"logits_{stride}" for stride in model.strides]
    last = next((node.module for node in reversed(nodes) if not isinstance(node.module, Flatten)), None)
    return ["probabilities" if isinstance(last, Softmax | Logistic) else "logits"] * count


def _class_count(model, output):
    return model.classes if _is_detector(model) else output.output_shape[-1]


def _metadata(model, names):
    """``{key: text}`` for whoever uses the file."""
    metadata = {"input": INPUT_FORM + (LETTERBOX if _is_detector(model) else "")}
    if names is not None:
        metadata["names"] = json.dumps(list(names), ensure_ascii=False)
    if _is_detector(model):
        metadata["strides"] = json.dumps(model.strides)
        metadata["anchors"] = json.dumps([group.tolist() for group in model.anchors])
        metadata["decoding"] = DECODING.format(probability="softmax" if model.one_class_per_box else "sigmoid")
    return metadata


class _Graph:
    """Collects what goes into the file.  Every value has a name there; those of a layer begin with its path."""

    def __init__(self, onnx):
        self._onnx = onnx
        self._nodes, self._constants, self._outputs, self._uses = [], [], [], Counter()
        self._path = ""

    def add_layer(self, node, inputs):
        """Translate one layer; returns the name of its output.  Raises UserError where nobody wrote down how."""
        translate = TRANSLATIONS.get(type(node.module))
        if translate is None:
            raise UserError(f"{node.path}: a layer {type(node.module).__name__} has no translation to ONNX")
        self._path = node.path
        return translate(self, node, *inputs)

    def apply(self, operator, *inputs, **attributes):
        """One ONNX operator on the values or constants of these names; returns the name of its output."""
        name = self._unique(f"{self._path}/{operator}")
        self._nodes.append(self._onnx.helper.make_node(operator, list(inputs), [name], name=name, **attributes))
        return name

    def constant(self, name, array, dtype=np.float32):
        """Store an array; returns its name."""
        name = self._unique(f"{self._path}.{name}")
        self._constants.append(self._onnx.numpy_helper.from_array(np.ascontiguousarray(array, dtype), name))
        return name

    def integers(self, name, *numbers):
        """Store whole numbers, such as a shape; returns their name."""
        return self.constant(name, numbers, np.int64)

    def add_output(self, name, value, shape):
        """Let ``value`` of our ``shape`` (without the batch) be an output; one value may be several."""
        name = self._unique(name)
        self._nodes.append(self._onnx.helper.make_node("Identity", [value], [name], name=name))
        self._outputs.append(self._declare(name, shape))

    def finish(self, input_shape, metadata):
        """The whole file, an ``onnx.ModelProto``."""
        helper = self._onnx.helper
        inputs = [self._declare(INPUT, input_shape)]
        graph = helper.make_graph(self._nodes, "network", inputs, self._outputs, self._constants)
        opsets = [helper.make_opsetid("", OPSET)]
        file = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="minidl")
        helper.set_model_props(file, metadata)
        return file

    def _declare(self, name, shape):
        """Name, type and shape of an input or output; a map (height, width, channels) has its channels first here."""
        shape = [BATCH, shape[-1], *shape[:-1]]
        return self._onnx.helper.make_tensor_value_info(name, self._onnx.TensorProto.FLOAT, shape)

    def _unique(self, name):
        """The name, with a number where it is taken: a layer may run twice."""
        self._uses[name] += 1
        return name if self._uses[name] == 1 else f"{name}#{self._uses[name]}"
