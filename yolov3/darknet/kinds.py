"""The kinds of layers in the original's terms: what each is given, and the shape that comes out.

Shapes are (height, width, channels) without the batch; a vector is a map of height and width 1.  Each kind's
``output_shape(shape, sources)`` gets the shape of the layer before and those of the layers that ``sources`` names
(numbers counted from 0), and raises ValueError, with the reason, where the layer cannot follow.
"""

from dataclasses import dataclass
from math import prod

RECTIFIERS = ("linear", "leaky", "relu")
ACTIVATIONS = (*RECTIFIERS, "logistic")


class Kind:
    """What most kinds are: without other sources, without numbers of their own, the shape unchanged."""

    sources = ()

    def output_shape(self, shape, sources):
        return shape

    def weight_count(self, shape):
        """Numbers in the kernel or the matrix of a layer that gets a map of this shape."""
        return 0

    def output_place_count(self, output_shape):
        """How often every weight is used for one picture."""
        return 1


@dataclass(frozen=True)
class Convolutional(Kind):
    """``activation(batch norm(convolution))``, or with a bias instead; ``padding`` in pixels on each side."""

    filters: int
    size: int
    stride: int
    padding: int
    batch_normalize: bool
    activation: str

    def output_shape(self, shape, sources):
        height, width = (_slides(side + 2 * self.padding, self.size, self.stride) for side in shape[:2])
        return height, width, self.filters

    def weight_count(self, shape):
        return self.filters * shape[2] * self.size**2

    def output_place_count(self, output_shape):
        return output_shape[0] * output_shape[1]


@dataclass(frozen=True)
class Connected(Kind):
    """``activation(batch norm(x W))``, or with a bias instead, of the flattened map x."""

    output: int
    batch_normalize: bool
    activation: str

    def output_shape(self, shape, sources):
        return 1, 1, self.output

    def weight_count(self, shape):
        return self.output * prod(shape)


@dataclass(frozen=True)
class Shortcut(Kind):
    """``activation(previous + source)``; the maps may differ in size by a whole factor (spec 3.6)."""

    source: int
    activation: str

    @property
    def sources(self):
        return (self.source,)

    def output_shape(self, shape, sources):
        ratios = {(max(1, a // b), max(1, b // a)) for a, b in zip(sources[0][:2], shape[:2], strict=True)}
        if len(ratios) > 1:
            raise ValueError(f"the map of layer {self.source}, {_times(sources[0])}, has other proportions")
        return shape


@dataclass(frozen=True)
class Route(Kind):
    """The outputs of the layers ``sources`` side by side, along the channels."""

    sources: tuple[int, ...]

    def output_shape(self, shape, sources):
        for number, source in zip(self.sources, sources, strict=True):
            if source[:2] != sources[0][:2]:
                raise ValueError(
                    f"layer {self.sources[0]} is {_times(sources[0])} and layer {number} is {_times(source)}: "
                    "maps to be joined need equal heights and widths"
                )
        return *sources[0][:2], sum(source[2] for source in sources)


@dataclass(frozen=True)
class Upsample(Kind):
    """Height and width times ``stride``, nearest neighbour."""

    stride: int

    def output_shape(self, shape, sources):
        return shape[0] * self.stride, shape[1] * self.stride, shape[2]


@dataclass(frozen=True)
class MaxPool(Kind):
    """Largest value of each window; ``padding`` in all, its smaller half left and above (spec 3.4)."""

    size: int
    stride: int
    padding: int

    def output_shape(self, shape, sources):
        if self.padding > 2 * (self.size - 1):
            raise ValueError(f"padding {self.padding} makes windows of nothing but padding")
        height, width = (_slides(side + self.padding, self.size, self.stride) for side in shape[:2])
        return height, width, shape[2]


@dataclass(frozen=True)
class AvgPool(Kind):
    """Mean over the whole map."""

    def output_shape(self, shape, sources):
        return 1, 1, shape[2]


@dataclass(frozen=True)
class Softmax(Kind):
    """``e^(x / temperature) / sum`` within each of ``groups`` equal parts of a vector."""

    groups: int
    temperature: float

    def output_shape(self, shape, sources):
        if shape[:2] != (1, 1):
            raise ValueError(f"a softmax follows a vector, not a map {_times(shape)}: put an [avgpool] before it")
        if shape[2] % self.groups:
            raise ValueError(f"{shape[2]} numbers cannot be shared by {self.groups} groups")
        return shape


@dataclass(frozen=True)
class Dropout(Kind):
    """In training, numbers set to 0 with this probability."""

    probability: float


@dataclass(frozen=True)
class Cost(Kind):
    """Where the original compares with the truth; it changes nothing."""


@dataclass(frozen=True)
class Reorg(Kind):
    """Blocks of ``stride`` x ``stride`` pixels to channels, in the original's odd order (spec 3.11)."""

    stride: int

    def output_shape(self, shape, sources):
        height, width, channels = shape
        if height % self.stride or width % self.stride or channels % self.stride**2:
            raise ValueError(
                f"a map {_times(shape)} cannot be reordered with stride {self.stride}: height and width must be "
                f"multiples of {self.stride}, channels of {self.stride**2}"
            )
        return height // self.stride, width // self.stride, channels * self.stride**2


class Detection(Kind):
    """The last layer of a scale: per anchor x, y, w, h, objectness and the classes."""

    def output_shape(self, shape, sources):
        wanted = len(self.own_anchors) * (5 + self.classes)
        if shape[2] != wanted:
            raise ValueError(
                f"{len(self.own_anchors)} anchors x (5 + {self.classes} classes) need {wanted} channels, "
                f"but the layer before has {shape[2]}: set its filters to {wanted}"
            )
        return shape


@dataclass(frozen=True)
class Yolo(Detection):
    """Detections of YOLOv3; ``anchors`` (width, height) in pixels, of which this layer has those in ``mask``."""

    mask: tuple[int, ...]
    anchors: tuple[tuple[float, float], ...]
    classes: int
    ignore_threshold: float

    @property
    def own_anchors(self):
        return tuple(self.anchors[number] for number in self.mask)


@dataclass(frozen=True)
class Region(Detection):
    """Detections of YOLOv2; ``anchors`` (width, height) in cells; ``softmax``: one class per box, not any number."""

    anchors: tuple[tuple[float, float], ...]
    classes: int
    softmax: bool

    @property
    def own_anchors(self):
        return self.anchors


def _slides(side, size, stride):
    """How many places a window has along a padded side."""
    if side < size:
        raise ValueError(f"its window of {size} pixels is larger than the map, {side} pixels with padding")
    return (side - size) // stride + 1


def _times(shape):
    return "x".join(map(str, shape))
