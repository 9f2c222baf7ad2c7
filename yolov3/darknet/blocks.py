"""Layers that only the original's files ask for; all others are those of :mod:`yolov3.blocks` and :mod:`minidl.nn`."""

from math import prod

from minidl import nn, ops


class Logistic(nn.Module):
    """``1 / (1 + e^-x)``."""

    def forward(self, x):
        return ops.sigmoid(x)


class AvgPool(nn.GlobalAveragePool):
    """Mean over the whole map, which stays a map: (batch, height, width, channels) -> (batch, 1, 1, channels)."""

    def forward(self, x):
        return ops.reshape(super().forward(x), x.shape[0], 1, 1, x.shape[3])


class Connected(nn.Linear):
    """Fully connected layer on a map: (batch, height, width, channels) -> (batch, 1, 1, outputs).

    ``map_shape``: (height, width, channels).  The rows of the weight are the numbers of the map in our order; the
    original's files have the channels first (:mod:`yolov3.darknet.weights`).  ``bias`` as in Conv2d.
    """

    def __init__(self, map_shape, outputs, bias=True, rng=None):
        super().__init__(prod(map_shape), outputs, bias, rng)
        self.map_shape = map_shape

    def forward(self, x):
        y = super().forward(ops.reshape(x, x.shape[0], -1))  # (batch, outputs)
        return ops.reshape(y, y.shape[0], 1, 1, y.shape[1])


class Flatten(nn.Module):
    """(batch, height, width, channels) -> (batch, numbers)."""

    def forward(self, x):
        return ops.reshape(x, x.shape[0], -1)


class Softmax(nn.Module):
    """``e^(x / temperature) / sum`` within each of ``groups`` equal parts of the channels (spec 3.9)."""

    def __init__(self, groups=1, temperature=1.0):
        self.groups, self.temperature = groups, temperature

    def forward(self, x):
        parts = ops.reshape(ops.divide(x, self.temperature), x.shape[0], self.groups, -1)
        return ops.reshape(ops.softmax(parts), *x.shape)


class Reorg(nn.Module):
    """Blocks of ``stride`` x ``stride`` pixels to channels, in the original's odd order (spec 3.11).

    (batch, h, w, c) -> (batch, h / s, w / s, c s^2).  The original means to move pixels into channels, but reads its
    buffer (c, h, w) as if it were (c / s^2, h s, w s); published weights were trained with it, so it stays.
    """

    def __init__(self, stride):
        self.stride = stride

    def forward(self, x):
        batch, height, width, channels = x.shape
        stride, groups = self.stride, channels // self.stride**2
        x = ops.transpose(x, 0, 3, 1, 2)  # (batch, c, h, w), the order of the original's buffer
        x = ops.reshape(x, batch, groups, height, stride, width, stride)  # read as (c / s^2, h s, w s)
        x = ops.transpose(x, 0, 3, 5, 1, 2, 4)  # (batch, s, s, c / s^2, h, w)
        x = ops.reshape(x, batch, channels * stride**2, height // stride, width // stride)
        return ops.transpose(x, 0, 2, 3, 1)

    def describe(self):
        """The stride, for the layer table."""
        return f"/ {self.stride}"
