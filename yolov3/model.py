"""The detectors: YOLOv3, YOLOv3-tiny, and small ones of the same structure, by name.

A detector is called with images (batch, height, width, 3) in [0, 1], height and width multiples of 32, and returns
one array of logits per scale, coarse to fine: (batch, height / stride, width / stride, anchors * (5 + classes)).  Per
anchor the channels are x, y, w, h, objectness, classes (notes F5; spec 4).
"""

from math import prod
from reprlib import repr as short_repr

import numpy as np

from minidl import nn
from yolov3.anchors import PUBLISHED_ANCHORS, PUBLISHED_TINY_ANCHORS
from yolov3.blocks import ConvBlock, DarknetNetwork
from yolov3.darknet53 import BLOCKS, WIDTH, Darknet53, stage_channels
from yolov3.errors import UserError
from yolov3.fpn import FeaturePyramid, TopDown

# Objectness starts near 2 %: with bias 0 ten thousand boxes all say "perhaps", and training explodes.
OBJECTNESS_BIAS = -4.0
OUTPUT_STD = 0.01
MAX_STRIDE = 32

# Beyond all reason, but easily written into a small file:
MOST_CHANNELS = 2**15  # of one head; its weights are then up to 134 MB.  Three anchors for 10,900 classes
LARGEST_AREA = 2**24  # pixels of the input, 4096x4096; the largest map of yolov3 is then 2 GB


class DetectionNetwork(DarknetNetwork):
    """What every detector has: its classes, its anchors per scale, and the channels that follow from them.

    Attributes
    ----------
    classes: number of classes
    strides: of the heads in the order of the output, coarse to fine, such as (32, 16, 8)
    anchors: per head an array (anchors, 2) of widths and heights in pixels of the network input
    one_class_per_box: whether the classes of a box exclude each other; in YOLOv3 they do not (notes H2)
    """

    strides = ()
    one_class_per_box = False

    def set_scales(self, classes, anchors):
        """Check and keep ``classes`` and ``anchors`` (``{stride: ((width, height), ...)}``).  Raises UserError."""
        if classes < 1:
            raise UserError(f"a detector needs at least one class, not {classes}")
        if sorted(anchors) != sorted(self.strides):
            raise UserError(
                f"a network with strides {self.strides} needs anchors for each of them, not {short_repr(anchors)}"
            )
        self.classes = classes
        self.anchors = tuple(_anchor_group(stride, anchors[stride]) for stride in self.strides)
        if max(self.outputs()) > MOST_CHANNELS:
            raise UserError(
                f"{classes:,} classes and {max(map(len, self.anchors)):,} anchors of one stride make heads of "
                f"{max(self.outputs()):,} channels, and {MOST_CHANNELS:,} are the most: use fewer"
            )

    def backbone_modules(self):
        """The modules below the detection branches, which training on other objects can leave as they are."""
        return []

    def outputs(self):
        """Channels of each head: ``anchors * (4 coordinates + 1 objectness + classes)``; 255 for COCO (notes F5)."""
        return tuple(len(group) * (5 + self.classes) for group in self.anchors)

    def anchor_groups(self):
        """The anchors as ``{stride: ((width, height), ...)}``, ready to build the network again."""
        groups = (tuple(map(tuple, group.tolist())) for group in self.anchors)
        return dict(zip(self.strides, groups, strict=True))

    def initialise_outputs(self, convolutions, rng):
        """First values of the output convolutions: small weights, and an objectness of about 2 % everywhere."""
        for convolution, group in zip(convolutions, self.anchors, strict=True):
            shape = convolution.weight.shape
            convolution.weight.data = rng.standard_normal(shape, dtype=np.float32) * np.float32(OUTPUT_STD)
            convolution.bias.data.reshape(len(group), -1)[:, 4] = OBJECTNESS_BIAS

    def fuse(self, settings=None, precision="fp32"):
        """As :meth:`yolov3.blocks.DarknetNetwork.fuse`, and still a detector."""
        return FusedDetector(self, super().fuse(settings, precision))


class FusedDetector(DetectionNetwork):
    """What :meth:`DetectionNetwork.fuse` gives: a detector in every way, but for training.

    ``network``: the :class:`minidl.inference.FusedNetwork` that does the work.
    """

    def __init__(self, detector, network):
        self.classes, self.strides, self.anchors = detector.classes, detector.strides, detector.anchors
        self.one_class_per_box, self.network = detector.one_class_per_box, network

    def forward(self, images):
        return self.network(images)

    @property
    def device(self):
        """Where it computes."""
        return self.network.device

    def fuse(self, settings=None, precision="fp32"):
        return self


def _anchor_group(stride, sizes):
    """The anchors of one scale as an array (anchors, 2).  Raises UserError unless they are sizes above 0."""
    try:
        group = np.array(sizes, np.float32)
    except (TypeError, ValueError):  # no numbers, or rows of different lengths
        group = np.zeros(0)
    pairs = group.ndim == 2 and group.shape[1] == 2 and len(group) > 0
    if not pairs or not np.all((group > 0) & np.isfinite(group)):
        raise UserError(
            f"the anchors of stride {stride} must be pairs (width, height) of pixels above 0, not {short_repr(sizes)}"
        )
    return group


class YOLOv3(DetectionNetwork):
    """YOLOv3: Darknet-53, a feature pyramid, three detections (notes A1, F).

    Parameters
    ----------
    classes: number of classes, 80 for COCO
    anchors: ``{32: ((width, height), ...), 16: ..., 8: ...}`` in pixels of the network input
    blocks, width, max_channels: of the backbone (:class:`yolov3.darknet53.Darknet53`)
    lateral: ``concat`` as in YOLOv3, ``add`` as in FPN
    pairs: pairs of convolutions per detection branch; 2 in YOLOv3
    seed: of the first weights
    """

    strides = (32, 16, 8)

    def __init__(
        self,
        classes=80,
        anchors=PUBLISHED_ANCHORS,
        blocks=BLOCKS,
        width=WIDTH,
        max_channels=None,
        lateral="concat",
        pairs=2,
        seed=None,
    ):
        rng = np.random.default_rng(seed)
        self.set_scales(classes, anchors)
        self.backbone = Darknet53(blocks, width, max_channels, rng=rng)
        self.pyramid = FeaturePyramid(self.backbone.channels[3:], self.outputs(), lateral, pairs, rng=rng)
        branches = (self.pyramid.branch_32, self.pyramid.branch_16, self.pyramid.branch_8)
        self.initialise_outputs([branch.output for branch in branches], rng)

    def backbone_modules(self):
        return [self.backbone]

    def forward(self, images):
        return self.pyramid(*self.backbone(images))


class YOLOv3Tiny(DetectionNetwork):
    """YOLOv3-tiny: seven 3x3 convolutions with max pooling between them, two detections (spec 1.5, 10).

    Comments give shapes for a 416x416 image and the default width.  Parameters as for :class:`YOLOv3`, with anchors
    for strides 32 and 16, and ``width`` the channels of the first convolution.
    """

    strides = (32, 16)

    def __init__(self, classes=80, anchors=PUBLISHED_TINY_ANCHORS, width=16, max_channels=None, seed=None):
        rng = np.random.default_rng(seed)
        self.set_scales(classes, anchors)
        channels = [*stage_channels(width, max_channels), stage_channels(width * 64, max_channels)[0]]  # 16 ... 1024
        self.convs = [ConvBlock(3, channels[0], 3, rng=rng)]
        self.convs += [ConvBlock(*channels[i : i + 2], 3, rng=rng) for i in range(6)]
        self.pools = [nn.MaxPool2d(2, stride=2) for _ in range(5)] + [nn.MaxPool2d(2, stride=1)]
        narrow = channels[4]  # 256, also the channels of the map with stride 16
        self.reduce = ConvBlock(channels[6], narrow, 1, rng=rng)
        self.expand_32 = ConvBlock(narrow, 2 * narrow, 3, rng=rng)
        self.output_32 = nn.Conv2d(2 * narrow, self.outputs()[0], 1, rng=rng)
        self.top_down = TopDown(narrow, narrow, rng=rng)
        self.expand_16 = ConvBlock(self.top_down.outputs, narrow, 3, rng=rng)
        self.output_16 = nn.Conv2d(narrow, self.outputs()[1], 1, rng=rng)
        self.initialise_outputs([self.output_32, self.output_16], rng)

    def backbone_modules(self):
        return self.convs

    def forward(self, images):
        x = images
        for conv, pool in zip(self.convs[:5], self.pools[:5], strict=True):
            x_8 = conv(x)  # at last (batch, 26, 26, 256)
            x = pool(x_8)  # (batch, 208, 208, 16) ... (batch, 13, 13, 256)
        x = self.pools[5](self.convs[5](x))  # (batch, 13, 13, 512): a pool of stride 1 keeps the size
        x_13 = self.reduce(self.convs[6](x))  # (batch, 13, 13, 1024) -> (batch, 13, 13, 256)
        logits_32 = self.output_32(self.expand_32(x_13))  # (batch, 13, 13, 255)
        x_20 = self.top_down(x_13, x_8)  # (batch, 26, 26, 128 + 256)
        logits_16 = self.output_16(self.expand_16(x_20))  # (batch, 26, 26, 255)
        return logits_32, logits_16


SMALL = {"blocks": (1, 1, 2, 2, 1), "width": 8, "pairs": 1}  # a Darknet with 7 residual blocks, for a laptop

# name -> (class, arguments beside classes and anchors, height and width of the input)
PRESETS = {
    "yolov3": (YOLOv3, {}, (416, 416)),
    "yolov3-tiny": (YOLOv3Tiny, {}, (416, 416)),
    "yolov3-small": (YOLOv3, SMALL | {"max_channels": 128}, (256, 320)),
    "yolov3-nano": (YOLOv3, SMALL | {"max_channels": 64}, (192, 256)),
}


def preset(name):
    """The preset's (class, arguments, input size).  Raises UserError for an unknown name."""
    if name not in PRESETS:
        raise UserError(f"unknown model {name!r}: choose one of {', '.join(PRESETS)}")
    return PRESETS[name]


def build_model(name, classes=80, anchors=None, lateral="concat", seed=None):
    """A detector by its preset's name; anchors default to the published ones.  Raises UserError."""
    network, arguments, _ = preset(name)
    if network is YOLOv3:
        arguments = arguments | {"lateral": lateral}
    elif lateral != "concat":
        raise UserError(f"model {name} has no choice of lateral connection")
    if anchors is not None:
        arguments = arguments | {"anchors": anchors}
    return network(classes=classes, seed=seed, **arguments)


def check_image_size(size):
    """``size`` as (height, width) if both are positive multiples of 32; else UserError names the nearest ones.

    UserError, too, for more pixels than LARGEST_AREA.
    """
    if prod(size) > LARGEST_AREA:
        raise UserError(f"an image size of {size[0]}x{size[1]} is too large: use at most {LARGEST_AREA:,} pixels")
    for side in size:
        if side < MAX_STRIDE or side % MAX_STRIDE:
            below = max(MAX_STRIDE, side // MAX_STRIDE * MAX_STRIDE)
            nearest = f"{below} or {below + MAX_STRIDE}"
            raise UserError(f"an image size must be a multiple of {MAX_STRIDE}, not {side}: use {nearest}")
    return tuple(size)
