"""A network as a plan: layers, sources, shapes and counts, and not a single array.

A plan comes from a ``.cfg`` file (:mod:`yolov3.darknet.cfg`) or from one of our own networks
(:mod:`yolov3.darknet.trace`).  It tells how many bytes the weights must have before any memory is taken for them.
"""

from collections import Counter
from dataclasses import dataclass
from math import prod

from yolov3.darknet.kinds import Detection, Kind, Shortcut
from yolov3.errors import UserError

LARGEST_ARRAY = 2**31 - 1  # weights of one layer; the original counts them in 32 bits
MOST_WEIGHTS = 2**30  # of all layers: 4 GB, seventeen times yolov3.  A file of nothing but a hole has any length
MOST_KEPT = 2**30  # numbers in maps that must be kept for one picture, because a later layer reads them
LARGEST_MAP = 2**28  # numbers: 1 GiB, twice the largest of yolov3 at 2048x2048.  No weights file vouches for a map


@dataclass(frozen=True)
class Layer:
    """One layer of a plan; shapes are (height, width, channels)."""

    index: int
    kind: Kind
    input_shape: tuple[int, int, int]
    output_shape: tuple[int, int, int]

    @property
    def section(self):
        """The name of its section in a cfg file, such as ``convolutional``."""
        return type(self.kind).__name__.lower()

    @property
    def weights(self):
        """Numbers in the kernel or the matrix."""
        return self.kind.weight_count(self.input_shape)

    @property
    def biases(self):
        """One per output channel: the bias, or beta of the batch norm."""
        return self.output_shape[2] if self.weights else 0

    @property
    def scales(self):
        """Gammas of the batch norm."""
        return self.biases if self.weights and self.kind.batch_normalize else 0

    @property
    def trainable(self):
        """Weights, biases and scales together."""
        return self.weights + self.biases + self.scales

    @property
    def statistics(self):
        """Running means and variances."""
        return 2 * self.scales

    @property
    def floats(self):
        """Numbers that the layer has in a ``.weights`` file."""
        return self.trainable + self.statistics

    @property
    def operations(self):
        """Multiplications and additions for one picture, counted apart (spec 10)."""
        return 2 * self.weights * self.kind.output_place_count(self.output_shape)


@dataclass(frozen=True)
class Plan:
    """A whole network.  ``places`` says of each layer where it was described, for error messages."""

    input_shape: tuple[int, int, int]
    layers: tuple[Layer, ...]
    places: tuple[str, ...]

    @property
    def floats(self):
        """Numbers in its ``.weights`` file, without the header."""
        return sum(layer.floats for layer in self.layers)

    @property
    def trainable(self):
        """Its parameters."""
        return sum(layer.trainable for layer in self.layers)

    @property
    def operations(self):
        """Multiplications and additions for one picture."""
        return sum(layer.operations for layer in self.layers)

    @property
    def statistics(self):
        """Its running means and variances."""
        return sum(layer.statistics for layer in self.layers)

    @property
    def boxes(self):
        """How many boxes it predicts for one picture."""
        return sum(prod(layer.output_shape[:2]) * len(layer.kind.own_anchors) for layer in self.detections)

    @property
    def detections(self):
        """Its detection layers, in order."""
        return [layer for layer in self.layers if isinstance(layer.kind, Detection)]

    def resized(self, height, width):
        """The same network for pictures of another size.  Raises UserError where a layer does not fit it."""
        kinds = [layer.kind for layer in self.layers]
        return make_plan(kinds, (height, width, self.input_shape[2]), self.places)


def make_plan(kinds, input_shape, places=None):
    """Follow the shapes through layers of these kinds.

    ``places``: what an error message calls each layer; default ``layer N [section]``.
    Raises UserError, beginning with the place, for a source that does not exist yet, for shapes that do not fit and
    for layers and maps beyond all reason.
    """
    if places is None:
        places = tuple(f"layer {index} [{type(kind).__name__.lower()}]" for index, kind in enumerate(kinds))
    layers = []
    shape = tuple(input_shape)
    if prod(shape) > LARGEST_MAP:
        raise UserError(f"{places[0]}: pictures of {prod(shape):,} numbers are too many: at most {LARGEST_MAP:,}")
    for index, (kind, place) in enumerate(zip(kinds, places, strict=True)):
        for source in kind.sources:
            if not 0 <= source < index:
                raise UserError(f"{place}: there is no layer {source} before layer {index}")
        try:
            output_shape = kind.output_shape(shape, [layers[source].output_shape for source in kind.sources])
        except ValueError as error:
            raise UserError(f"{place}: {error}{_advice(kinds, input_shape)}") from error
        layer = Layer(index, kind, shape, output_shape)
        if prod(output_shape) > LARGEST_MAP or layer.weights > LARGEST_ARRAY:
            raise UserError(
                f"{place}: its map of {prod(output_shape):,} numbers or its {layer.weights:,} weights are too many: "
                f"at most {LARGEST_MAP:,} and {LARGEST_ARRAY:,}"
            )
        layers.append(layer)
        shape = output_shape
    plan = Plan(tuple(input_shape), tuple(layers), tuple(places))
    _check_detections(plan)
    _check_memory(plan)
    return plan


def _advice(kinds, input_shape):
    """What most often helps where the shapes in a detector do not fit."""
    height, width, _ = input_shape
    if (height % 32 or width % 32) and any(isinstance(kind, Detection) for kind in kinds):
        return f" (the picture is {height}x{width}: choose a height and width that are multiples of 32)"
    return ""


def _check_memory(plan):
    """UserError where a network of reasonable layers is beyond all reason as a whole."""
    if plan.floats > MOST_WEIGHTS:
        raise UserError(
            f"{plan.places[-1]}: the network ends here with {plan.floats:,} weights, and {MOST_WEIGHTS:,} are the most"
        )
    last_use = {source: layer.index for layer in plan.layers for source in layer.kind.sources}
    kept, done_with = 0, Counter()  # numbers; {index of a layer: numbers that nobody reads after it}
    for layer in plan.layers:
        if layer.index in last_use:
            kept += prod(layer.output_shape)
            done_with[last_use[layer.index]] += prod(layer.output_shape)
        if kept > MOST_KEPT:
            raise UserError(
                f"{plan.places[layer.index]}: here {kept:,} numbers of earlier maps are kept for later layers, and "
                f"{MOST_KEPT:,} are the most"
            )
        kept -= done_with[layer.index]


def _check_detections(plan):
    """UserError unless every detection layer has square cells and the classes of the others, and ends there."""
    detections = plan.detections
    ends = {layer.index for layer in detections}
    for layer in plan.layers:
        read = layer.kind.sources or ((layer.index - 1,) if layer.index else ())
        if isinstance(layer.kind, Shortcut):
            read = (*read, layer.index - 1)
        if ends.intersection(read):
            raise UserError(f"{plan.places[layer.index]}: it reads the output of a detection layer, which is an end")
    for layer in detections:
        (height, width, _), (rows, columns, _) = plan.input_shape, layer.output_shape
        if height % rows or width % columns or height // rows != width // columns:
            raise UserError(
                f"{plan.places[layer.index]}: its {rows}x{columns} cells do not divide the {height}x{width} picture "
                "into squares: choose a height and width that are multiples of 32"
            )
        if type(layer.kind) is not type(detections[0].kind):
            raise UserError(f"{plan.places[layer.index]}: a network has either [yolo] or [region] layers, not both")
        if getattr(layer.kind, "softmax", None) != getattr(detections[0].kind, "softmax", None):
            raise UserError(f"{plan.places[layer.index]}: softmax= differs from the detection layer before it")
        if layer.kind.classes != detections[0].kind.classes:
            raise UserError(
                f"{plan.places[layer.index]}: {layer.kind.classes} classes, but the detection layer before it has "
                f"{detections[0].kind.classes}"
            )
