"""The top-down half of YOLOv3: a feature pyramid with a detection branch at each of three scales (notes E, F).

Bottom-up is Darknet-53.  From its coarsest map the way goes down again: upsample, join the finer map of the
backbone sideways (the *lateral connection*), detect, and on to the next scale.
"""

import numpy as np

from minidl import nn
from yolov3.blocks import ConvBlock

LATERALS = ("concat", "add")


class DetectionBranch(nn.Module):
    """The convolutions of one scale: 1x1 and 3x3 in turn, then a linear 1x1 to the predictions.

    With the default ``pairs`` = 2 the branch is 1x1, 3x3, 1x1, 3x3, 1x1 | 3x3, output, as in YOLOv3; the next
    scale starts from the features at the bar.

    (batch, h, w, inputs) -> features (batch, h, w, channels), logits (batch, h, w, outputs).
    """

    def __init__(self, inputs, channels, outputs, pairs=2, rng=None):
        self.features = nn.Sequential(
            *(
                layer
                for pair in range(pairs)
                for layer in (
                    ConvBlock(inputs if pair == 0 else 2 * channels, channels, 1, rng=rng),
                    ConvBlock(channels, 2 * channels, 3, rng=rng),
                )
            ),
            ConvBlock(2 * channels, channels, 1, rng=rng),
        )
        self.expand = ConvBlock(channels, 2 * channels, 3, rng=rng)
        self.output = nn.Conv2d(2 * channels, outputs, 1, rng=rng)

    def forward(self, x):
        features = self.features(x)
        return features, self.output(self.expand(features))


class TopDown(nn.Module):
    """From one scale to the next finer one: 1x1 convolution, upsample by 2, join with the backbone's map.

    ``concat`` puts the channels of both side by side, as YOLOv3 does; ``add`` sets the backbone's channels by a 1x1
    convolution and adds, as FPN does (notes E5).  The 3x3 convolutions of the branch behind it smooth the
    blocks that nearest-neighbour upsampling leaves.
    """

    def __init__(self, inputs, lateral_inputs, lateral="concat", rng=None):
        if lateral not in LATERALS:
            raise ValueError(f"unknown lateral connection {lateral!r}: choose one of {', '.join(LATERALS)}")
        channels = inputs // 2
        self.reduce = ConvBlock(inputs, channels, 1, rng=rng)
        self.upsample = nn.Upsample(2)
        self.lateral = ConvBlock(lateral_inputs, channels, 1, rng=rng) if lateral == "add" else None
        self.join = nn.Shortcut() if lateral == "add" else nn.Concat()
        self.outputs = channels if lateral == "add" else channels + lateral_inputs

    def forward(self, features, backbone_map):
        upsampled = self.upsample(self.reduce(features))
        if self.lateral is not None:
            backbone_map = self.lateral(backbone_map)
        return self.join(upsampled, backbone_map)


class FeaturePyramid(nn.Module):
    """Three detection branches from coarse to fine.

    Parameters
    ----------
    channels: of the backbone's maps with stride 8, 16 and 32
    outputs: channels of the three predictions, coarse to fine, such as (255, 255, 255)
    lateral: ``concat`` or ``add``
    pairs: of convolutions in each branch
    """

    def __init__(self, channels, outputs, lateral="concat", pairs=2, rng=None):
        rng = np.random.default_rng() if rng is None else rng
        fine, middle, coarse = channels
        self.branch_32 = DetectionBranch(coarse, coarse // 2, outputs[0], pairs, rng=rng)
        self.top_down_16 = TopDown(coarse // 2, middle, lateral, rng=rng)
        self.branch_16 = DetectionBranch(self.top_down_16.outputs, middle // 2, outputs[1], pairs, rng=rng)
        self.top_down_8 = TopDown(middle // 2, fine, lateral, rng=rng)
        self.branch_8 = DetectionBranch(self.top_down_8.outputs, fine // 2, outputs[2], pairs, rng=rng)

    def forward(self, x_36, x_61, x_74):
        x_79, logits_32 = self.branch_32(x_74)  # (batch, 13, 13, 512), (batch, 13, 13, 255)
        x_86 = self.top_down_16(x_79, x_61)  # (batch, 26, 26, 256 + 512)
        x_91, logits_16 = self.branch_16(x_86)  # (batch, 26, 26, 256), (batch, 26, 26, 255)
        x_98 = self.top_down_8(x_91, x_36)  # (batch, 52, 52, 128 + 256)
        _, logits_8 = self.branch_8(x_98)  # (batch, 52, 52, 255)
        return logits_32, logits_16, logits_8
