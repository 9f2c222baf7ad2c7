"""Darknet-53: the backbone of YOLOv3, and the ImageNet classifier it was trained as (notes B; paper, Table 1)."""

import numpy as np

from minidl import nn
from yolov3.blocks import ConvBlock, DarknetNetwork, ResidualBlock

BLOCKS = (1, 2, 8, 8, 4)  # residual blocks per stage: 23 in all
WIDTH = 32  # channels of the first convolution; doubled by every stage


def stage_channels(width, max_channels=None):
    """Channels behind the first convolution and behind each of the five stages: 32, 64, 128, 256, 512, 1024."""
    channels = [width * 2**stage for stage in range(6)]
    return channels if max_channels is None else [min(each, max_channels) for each in channels]


class Stage(nn.Module):
    """Halve the resolution by a 3x3 convolution of stride 2, then residual blocks (no max pooling: notes B4)."""

    def __init__(self, inputs, outputs, blocks, rng=None):
        self.downsample = ConvBlock(inputs, outputs, 3, stride=2, rng=rng)
        self.blocks = [ResidualBlock(outputs, rng=rng) for _ in range(blocks)]

    def forward(self, x):
        x = self.downsample(x)
        for block in self.blocks:
            x = block(x)
        return x


class Darknet53(nn.Module):
    """The 52 convolutions of the backbone.  Comments give shapes for a 416x416 image and the default width.

    Parameters
    ----------
    blocks: residual blocks in each of the five stages
    width: channels of the first convolution
    max_channels: no layer gets more than this (small networks); None for no limit
    rng: NumPy generator for the first weights

    Returns the maps of stride 8, 16 and 32 (C3, C4, C5 in the terms of the FPN paper).
    """

    def __init__(self, blocks=BLOCKS, width=WIDTH, max_channels=None, rng=None):
        rng = np.random.default_rng() if rng is None else rng
        self.channels = stage_channels(width, max_channels)
        self.stem = ConvBlock(3, self.channels[0], 3, rng=rng)
        self.stages = [Stage(*self.channels[i : i + 2], blocks[i], rng=rng) for i in range(5)]

    def forward(self, images):
        x = self.stem(images)  # (batch, 416, 416, 32)
        x = self.stages[0](x)  # (batch, 208, 208, 64)
        x = self.stages[1](x)  # (batch, 104, 104, 128)
        x_36 = self.stages[2](x)  # (batch, 52, 52, 256); 36 is the layer's number in the original
        x_61 = self.stages[3](x_36)  # (batch, 26, 26, 512)
        x_74 = self.stages[4](x_61)  # (batch, 13, 13, 1024)
        return x_36, x_61, x_74


class Darknet53Classifier(DarknetNetwork):
    """Darknet-53 as trained on ImageNet: backbone, mean over the map, fully connected layer (52 + 1 = 53).

    (batch, height, width, 3) -> logits (batch, classes); 256x256 pictures in the paper.
    """

    def __init__(self, classes=1000, blocks=BLOCKS, width=WIDTH, rng=None):
        rng = np.random.default_rng() if rng is None else rng
        self.backbone = Darknet53(blocks, width, rng=rng)
        self.pool = nn.GlobalAveragePool()
        self.connected = nn.Linear(self.backbone.channels[-1], classes, rng=rng)

    def forward(self, images):
        x_74 = self.backbone(images)[-1]  # (batch, 8, 8, 1024) for 256x256
        return self.connected(self.pool(x_74))  # (batch, 1024) -> (batch, 1000)
