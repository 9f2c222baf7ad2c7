"""The other backbones of the paper's Table 2 (notes D1): Darknet-19 and the ResNets, as the original program has them.

Each is a classifier: images (batch, height, width, 3) in [0, 1], height and width multiples of 32, to logits (batch,
classes).  Comments give shapes for a 256x256 picture, that of Table 2.  Layers stand in the order of the original's
files (spec 1.5, 10).
"""

from functools import partial

import numpy as np

from minidl import nn
from yolov3.blocks import LEAKY_SLOPE, LINEAR, ConvBlock, DarknetNetwork
from yolov3.darknet53 import Darknet53Classifier


class PlainStage(nn.Module):
    """3x3 convolutions to ``outputs`` channels; between two of them, a 1x1 one to half as many, to save operations.

    ``pairs``: how many pairs (1x1, 3x3) follow the first convolution.  Keeps height and width.
    """

    def __init__(self, inputs, outputs, pairs, rng=None):
        self.convs = [ConvBlock(inputs, outputs, 3, rng=rng)]
        for _ in range(pairs):
            self.convs += [ConvBlock(outputs, outputs // 2, 1, rng=rng), ConvBlock(outputs // 2, outputs, 3, rng=rng)]

    def forward(self, x):
        for conv in self.convs:
            x = conv(x)
        return x


class Darknet19Classifier(DarknetNetwork):
    """Darknet-19, the backbone of YOLOv2: 19 convolutions, 5 max pools, no residual connection (notes B1, B4).

    The last convolution gives every place of the map its own logits; the mean over the places comes after it.
    """

    def __init__(self, classes=1000, rng=None):
        rng = np.random.default_rng() if rng is None else rng
        self.stage_1 = PlainStage(3, 32, 0, rng)
        self.stage_2 = PlainStage(32, 64, 0, rng)
        self.stage_4 = PlainStage(64, 128, 1, rng)
        self.stage_8 = PlainStage(128, 256, 1, rng)
        self.stage_16 = PlainStage(256, 512, 2, rng)
        self.stage_32 = PlainStage(512, 1024, 2, rng)
        self.downsamples = [nn.MaxPool2d(2, stride=2) for _ in range(5)]
        self.output = nn.Conv2d(1024, classes, 1, rng=rng)
        self.pool = nn.GlobalAveragePool()

    def forward(self, images):
        x = self.stage_1(images)  # (batch, 256, 256, 32)
        x = self.stage_2(self.downsamples[0](x))  # (batch, 128, 128, 64)
        x = self.stage_4(self.downsamples[1](x))  # (batch, 64, 64, 128)
        x = self.stage_8(self.downsamples[2](x))  # (batch, 32, 32, 256)
        x = self.stage_16(self.downsamples[3](x))  # (batch, 16, 16, 512)
        x = self.stage_32(self.downsamples[4](x))  # (batch, 8, 8, 1024)
        return self.pool(self.output(x))  # (batch, 8, 8, 1000) -> (batch, 1000)


class BottleneckBlock(nn.Module):
    """``leaky(x + g(x))``: g is a 1x1 convolution to ``channels``, a 3x3 one, and a 1x1 one to ``4 channels``.

    (batch, height, width, inputs) -> (batch, height / stride, width / stride, 4 channels).  Where g changes the
    shape, the shortcut takes every second pixel of x, and adds it to the first channels: it has no weights at all,
    where the ResNet paper has a 1x1 convolution (spec 3.6).
    """

    def __init__(self, inputs, channels, stride=1, rng=None):
        self.reduce = ConvBlock(inputs, channels, 1, rng=rng)
        self.transform = ConvBlock(channels, channels, 3, stride, rng=rng)
        self.expand = ConvBlock(channels, 4 * channels, 1, rng=rng, slope=LINEAR)
        self.shortcut = nn.Shortcut(LEAKY_SLOPE)

    def forward(self, x):
        return self.shortcut(self.expand(self.transform(self.reduce(x))), x)


class BottleneckStage(nn.Module):
    """Bottleneck blocks; the first of them carries the stage's stride."""

    def __init__(self, inputs, channels, stride, blocks, rng=None):
        self.blocks = [BottleneckBlock(inputs, channels, stride, rng=rng)]
        self.blocks += [BottleneckBlock(4 * channels, channels, rng=rng) for _ in range(blocks - 1)]

    def forward(self, x):
        for block in self.blocks:
            x = block(x)
        return x


class ResNetClassifier(DarknetNetwork):
    """A ResNet in the original program's form: leaky ReLUs, and shortcuts without weights (spec 1.5, 3.6).

    Parameters
    ----------
    blocks: bottleneck blocks in each of the four stages
    classes: number of classes
    pool_first: True to take the mean over the map before the last layer, as the original does in ResNet-50; False
        for after it, as in the two larger ones.  Both give the same numbers, as mean and last layer are linear, but
        with the mean first the last layer sees one place in place of 64: 4 million operations, not 262 million.
    rng: NumPy generator for the first weights
    """

    def __init__(self, blocks=(3, 4, 6, 3), classes=1000, pool_first=True, rng=None):
        rng = np.random.default_rng() if rng is None else rng
        self.stem = ConvBlock(3, 64, 7, stride=2, rng=rng)
        self.downsample = nn.MaxPool2d(2, stride=2)
        self.stage_4 = BottleneckStage(64, 64, 1, blocks[0], rng)
        self.stage_8 = BottleneckStage(256, 128, 2, blocks[1], rng)
        self.stage_16 = BottleneckStage(512, 256, 2, blocks[2], rng)
        self.stage_32 = BottleneckStage(1024, 512, 2, blocks[3], rng)
        self.pool = nn.GlobalAveragePool()
        self.output = nn.Linear(2048, classes, rng=rng) if pool_first else nn.Conv2d(2048, classes, 1, rng=rng)
        self.pool_first = pool_first

    def forward(self, images):
        x = self.stem(images)  # (batch, 128, 128, 64)
        x = self.stage_4(self.downsample(x))  # (batch, 64, 64, 256)
        x = self.stage_8(x)  # (batch, 32, 32, 512)
        x = self.stage_16(x)  # (batch, 16, 16, 1024)
        x = self.stage_32(x)  # (batch, 8, 8, 2048)
        if self.pool_first:
            return self.output(self.pool(x))  # (batch, 2048) -> (batch, 1000)
        return self.pool(self.output(x))  # (batch, 8, 8, 1000) -> (batch, 1000)


# name -> function that makes the network; it takes `classes` and `rng`
BACKBONES = {
    "darknet19": Darknet19Classifier,
    "darknet53": Darknet53Classifier,
    "resnet50": partial(ResNetClassifier, (3, 4, 6, 3), pool_first=True),
    "resnet101": partial(ResNetClassifier, (3, 4, 23, 3), pool_first=False),
    "resnet152": partial(ResNetClassifier, (3, 8, 36, 3), pool_first=False),
}
