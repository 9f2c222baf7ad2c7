"""Our own networks in the original's terms, found by watching them run.

Whatever is made of the shared blocks becomes a :class:`yolov3.darknet.plan.Plan`: for the layer table, and to be
written as a ``.cfg`` that the original program and other readers understand.
"""

from collections import Counter
from dataclasses import replace

from minidl import nn
from minidl.nn.graph import IMAGES
from yolov3.darknet import kinds
from yolov3.darknet.network import SLOPES, ConfiguredNetwork
from yolov3.darknet.plan import make_plan
from yolov3.darknet.weights import weight_layers
from yolov3.errors import UserError
from yolov3.model import DetectionNetwork

ACTIVATIONS = {slope: name for name, slope in SLOPES.items()}
IGNORE_THRESHOLD = 0.7  # the original's for COCO; it matters in training only


def plan_of(model, image_size, ignore_threshold=IGNORE_THRESHOLD):
    """The plan of a network for pictures of ``image_size`` (height, width).

    A detector's heads each get a ``yolo`` layer with its anchors.  The layers with numbers come in the order in
    which they run, and that is also their order in a ``.weights`` file.
    Raises UserError for what the original has no words for.
    """
    if isinstance(model, ConfiguredNetwork):
        return model.plan.resized(*image_size)
    graph = nn.trace(model, (*image_size, 3))
    nodes, outputs = graph.nodes, graph.outputs
    translator = _Translator(Counter(number for node in nodes for number in node.inputs))
    for number, node in enumerate(nodes):
        translator.add(number, node)
        if isinstance(model, DetectionNetwork) and number in outputs:
            translator.kinds.append(_yolo(model, outputs.index(number), ignore_threshold))
    _check_order(model, nodes)
    return make_plan(translator.kinds, (*image_size, 3))


def _check_order(model, nodes):
    """UserError unless the layers run in the order of a weights file, that of their attributes, and each once."""
    running = [node.module for node in nodes if isinstance(node.module, nn.Conv2d | nn.Linear)]
    in_file = [each.layer for each in weight_layers(model)]
    if [id(module) for module in running] != [id(module) for module in in_file]:
        raise UserError("the layers of this network run in another order than that of its attributes, or not once each")


def _yolo(model, scale, ignore_threshold):
    """The detection layer of a head.  The original numbers all anchors of a network, the smallest first."""
    groups = [tuple(map(tuple, group.tolist())) for group in model.anchors]
    fine_to_coarse = sorted(range(len(groups)), key=lambda each: model.strides[each])
    anchors = [anchor for each in fine_to_coarse for anchor in groups[each]]
    before = sum(len(groups[each]) for each in fine_to_coarse[: fine_to_coarse.index(scale)])
    mask = tuple(range(before, before + len(groups[scale])))
    return kinds.Yolo(mask, tuple(anchors), model.classes, ignore_threshold)


class _Translator:
    """Collects the kinds of the layers; ``layer_of``: number of a node -> index of the layer with its output.

    In the original a layer reads the one before it, whatever that is; where ours reads another one, a route to that
    one comes in between.
    """

    def __init__(self, uses):
        self.kinds, self.layer_of, self._uses = [], {IMAGES: -1}, uses

    def add(self, number, node):
        """Append a node, or let the layer before it take it in: a batch norm, an activation."""
        if None in node.inputs:
            raise UserError(f"{node.path} reads what no layer made: build it of layers to write it as a cfg")
        module, sources = node.module, [self.layer_of[each] for each in node.inputs]
        if isinstance(module, nn.BatchNorm):
            self._amend(node, sources[0], batch_normalize=True, activation=_activation(node))
        elif isinstance(module, nn.LeakyReLU):
            self._amend(node, sources[0], activation=_activation(node))
        elif isinstance(module, nn.Concat):
            self.kinds.append(kinds.Route(tuple(sources)))
        elif isinstance(module, nn.Shortcut):
            self._add_shortcut(node, sources)
        else:
            self._continue_from(sources[0])
            self.kinds.append(_kind(node))
        self.layer_of[number] = len(self.kinds) - 1

    def _amend(self, node, source, **changes):
        """Change the last layer, which must be this node's only source and have nothing of the kind yet."""
        last = self.kinds[-1] if self.kinds else None
        if source != len(self.kinds) - 1 or self._uses[node.inputs[0]] > 1 or not hasattr(last, "activation"):
            raise UserError(f"{node.path}: in a cfg it must follow a convolution or a sum that nothing else reads")
        if "batch_normalize" in changes and not hasattr(last, "batch_normalize"):
            raise UserError(f"{node.path}: in a cfg a batch norm must follow a convolution or a connected layer")
        if last.activation != "linear" or ("batch_normalize" in changes and last.batch_normalize):
            raise UserError(f"{node.path}: a cfg has no place for a second one of its kind in a layer")
        self.kinds[-1] = replace(last, **changes)

    def _add_shortcut(self, node, sources):
        previous, other = sources
        if previous != len(self.kinds) - 1 and other == len(self.kinds) - 1 and len(set(node.input_shapes)) == 1:
            previous, other = other, previous  # of equal shapes, either may be the layer before
        self._continue_from(previous)
        self.kinds.append(kinds.Shortcut(other, _activation(node)))

    def _continue_from(self, source):
        if source != len(self.kinds) - 1:
            self.kinds.append(kinds.Route((source,)))


def _activation(node):
    slope = node.module.slope
    if slope not in ACTIVATIONS:
        raise UserError(f"{node.path}: the original has no leaky ReLU of slope {slope}, only of 0.1")
    return ACTIVATIONS[slope]


def _kind(node):
    """The kind of a layer that stands alone."""
    module = node.module
    match module:
        case nn.Conv2d():
            size, _, _, filters = module.weight.shape
            return kinds.Convolutional(filters, size, module.stride, module.padding, False, "linear")
        case nn.MaxPool2d():
            return kinds.MaxPool(module.size, module.stride, module.padding)
        case nn.Upsample(mode="nearest"):
            return kinds.Upsample(module.factor)
        case nn.GlobalAveragePool():
            return kinds.AvgPool()
        case nn.Linear():
            return kinds.Connected(module.weight.shape[1], False, "linear")
    raise UserError(f"{node.path}: the original has no layer like {type(module).__name__}")
