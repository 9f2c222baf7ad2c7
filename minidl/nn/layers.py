"""Layers with and without parameters.  Images are (batch, height, width, channels)."""

import numpy as np

from minidl import ops
from minidl.collective import current_group
from minidl.device import device_of, kernels_for, to_device
from minidl.kernels.batchnorm_rules import STANDARD
from minidl.kernels.shapes import pair
from minidl.nn.init import generator, he_normal
from minidl.nn.module import Buffer, Module, Parameter
from minidl.tensor import Tensor


class Conv2d(Module):
    """Convolution layer: ``ops.conv2d`` with its weight (size, size, inputs, outputs) and perhaps a bias.

    Parameters
    ----------
    inputs, outputs: channels
    size: of the square kernel; stride; padding on each side (default ``size // 2``, which keeps the size at stride 1)
    bias: whether to add one per output channel (pointless in front of a batch norm)
    rng: NumPy generator for the first weights (He normal); the bias starts at 0
    """

    def __init__(self, inputs, outputs, size, stride=1, padding=None, bias=True, rng=None):
        self.stride, self.padding = stride, size // 2 if padding is None else padding
        self.weight = Parameter(he_normal((size, size, inputs, outputs), generator(rng)))
        self.bias = Parameter(np.zeros(outputs, np.float32)) if bias else None

    def forward(self, x):
        return ops.conv2d(x, self.weight, self.bias, self.stride, self.padding)

    def operations(self, output_shape):
        """Multiplications and additions for one image, counted apart as the original does (spec 10)."""
        return 2 * self.weight.size * output_shape[1] * output_shape[2]

    def describe(self):
        """Kernel and stride, for the layer table."""
        return f"{self.weight.shape[0]}x{self.weight.shape[1]} / {pair(self.stride, 'stride')[0]}"


class BatchNorm(Module):
    """Batch normalisation over the last axis, with running statistics and an optional leaky ReLU in the same pass.

    Parameters
    ----------
    channels: size of the last axis
    momentum: share of the new batch in the running statistics; 0.01 as the original for long training, 0.1 for
        runs of a few hundred steps
    slope: of the leaky ReLU behind it; 1 for none
    rule: where epsilon stands (:mod:`minidl.kernels.batchnorm_rules`)

    In training the batch's own mean and (biased) variance normalise, and ``running <- (1 - momentum) running +
    momentum batch`` with the unbiased variance; in evaluation the running ones normalise.  The running
    variance starts at 1, so that an untrained network does not explode (the original's starts at 0).  Where several
    processes share a batch (:func:`minidl.collective.together`) all of this is of the whole batch.
    """

    def __init__(self, channels, momentum=0.1, slope=1.0, rule=STANDARD):
        self.momentum, self.slope, self.rule = momentum, slope, rule
        self.gamma = Parameter(np.ones(channels, np.float32))
        self.beta = Parameter(np.zeros(channels, np.float32))
        self.running_mean = Buffer(np.zeros(channels, np.float32))
        self.running_variance = Buffer(np.ones(channels, np.float32))

    def forward(self, x):
        if not self.training:
            mean, variance = self.running_mean.data, self.running_variance.data
            return ops.batchnorm(x, self.gamma, self.beta, mean, variance, self.rule, self.slope)[0]
        y, mean, variance = ops.batchnorm(x, self.gamma, self.beta, rule=self.rule, slope=self.slope)
        count = x.size // x.shape[-1] * current_group().size
        self._record(self.running_mean, mean)
        self._record(self.running_variance, variance, count / max(1, count - 1))
        return y

    def _record(self, running, batch, factor=1):
        blend = kernels_for(batch).weighted_sum
        running.data = blend(running.data, batch, 1 - self.momentum, self.momentum * factor)


class LeakyReLU(Module):
    """``x if x > 0 else slope * x``."""

    def __init__(self, slope=0.1):
        self.slope = slope

    def forward(self, x):
        return ops.leaky_relu(x, self.slope)


class Upsample(Module):
    """Height and width times ``factor``; mode ``nearest`` or ``bilinear``."""

    def __init__(self, factor=2, mode="nearest"):
        self.factor, self.mode = factor, mode

    def forward(self, x):
        return ops.upsample(x, self.factor, self.mode)


class MaxPool2d(Module):
    """Largest value of each window (``ops.maxpool2d``); ``padding`` in all, the original's ``size - 1`` by default."""

    def __init__(self, size, stride, padding=None):
        self.size, self.stride, self.padding = size, stride, size - 1 if padding is None else padding

    def forward(self, x):
        return ops.maxpool2d(x, self.size, self.stride, self.padding)

    def describe(self):
        """Window and stride, for the layer table."""
        return f"{self.size}x{self.size} / {self.stride}"


class Shortcut(Module):
    """``x + source``, then a leaky ReLU where ``slope`` is below 1.

    The source may be of another size, such as the map before a stride: see :func:`minidl.ops.shortcut`.
    """

    def __init__(self, slope=1.0):
        self.slope = slope

    def forward(self, x, source):
        y = ops.shortcut(x, source)
        return y if self.slope == 1 else ops.leaky_relu(y, self.slope)


class Concat(Module):
    """Maps side by side, along the channels."""

    def forward(self, *maps):
        return ops.concat(*maps)


class Dropout(Module):
    """In training each number becomes 0 with ``probability`` and the others grow by ``1 / (1 - probability)``.

    So their expected value stays the same; in evaluation nothing happens.  ``rng``: NumPy generator of the choice,
    which is made on the CPU for every device, so that a run takes the same course on all.
    """

    def __init__(self, probability, rng=None):
        self.probability, self._rng = probability, generator(rng)

    def forward(self, x):
        if not self.training or not self.probability:
            return x
        kept = self._rng.random(x.shape, np.float32) >= self.probability
        factors = kept.astype(x.dtype) / x.dtype.type(1 - self.probability)
        return ops.multiply(x, Tensor(to_device(factors, device_of(x.data))))


class GlobalAveragePool(Module):
    """Mean over the whole map: (batch, height, width, channels) -> (batch, channels)."""

    def forward(self, x):
        return ops.global_average_pool(x)


class Linear(Module):
    """Fully connected layer: (batch, inputs) -> (batch, outputs).  Weight (inputs, outputs), He normal; bias 0.

    Parameters as for :class:`Conv2d`.
    """

    def __init__(self, inputs, outputs, bias=True, rng=None):
        self.weight = Parameter(he_normal((inputs, outputs), generator(rng)))
        self.bias = Parameter(np.zeros(outputs, np.float32)) if bias else None

    def forward(self, x):
        return ops.linear(x, self.weight, self.bias)

    def operations(self, output_shape):
        """Multiplications and additions for one row."""
        return 2 * self.weight.size
