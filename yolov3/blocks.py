"""The building blocks of every Darknet, and what all networks made of them share."""

from minidl import nn
from minidl.inference import fuse

LEAKY_SLOPE = 0.1
LINEAR = 1.0  # the slope of a leaky ReLU that changes nothing


class ConvBlock(nn.Module):
    """Convolution, batch norm, leaky ReLU: one line of Table 1 (notes B2).

    (batch, height, width, inputs) -> (batch, height / stride, width / stride, outputs).  The convolution has no bias,
    because the batch norm behind it would take it out again; batch norm and leaky ReLU run as one operation.
    ``slope`` of the leaky ReLU: 0.1, or LINEAR for none; ``padding`` on each side: default ``size // 2``.
    """

    def __init__(self, inputs, outputs, size, stride=1, rng=None, slope=LEAKY_SLOPE, padding=None):
        self.conv = nn.Conv2d(inputs, outputs, size, stride, padding, bias=False, rng=rng)
        self.norm = nn.BatchNorm(outputs, slope=slope)

    def forward(self, x):
        return self.norm(self.conv(x))


class ResidualBlock(nn.Module):
    """``x + g(x)`` with g a 1x1 convolution to half the channels and a 3x3 one back (notes C5).

    If nothing is to be learned, g = 0 makes the block the identity; and the gradient of the sum reaches x
    undiminished, whatever g does.
    """

    def __init__(self, channels, rng=None):
        self.reduce = ConvBlock(channels, channels // 2, 1, rng=rng)
        self.expand = ConvBlock(channels // 2, channels, 3, rng=rng)
        self.shortcut = nn.Shortcut()

    def forward(self, x):
        return self.shortcut(self.expand(self.reduce(x)), x)


class DarknetNetwork(nn.Module):
    """A whole network of these blocks, detector or classifier."""

    def configure_batchnorm(self, momentum=None, rule=None):
        """Set ``momentum`` or ``rule`` of every batch norm (:class:`minidl.nn.BatchNorm`).  Returns the network."""
        for _, module in self.named_modules():
            if isinstance(module, nn.BatchNorm):
                module.momentum = module.momentum if momentum is None else momentum
                module.rule = rule or module.rule
        return self

    def fuse(self, settings=None, precision="fp32"):
        """The network as it is now, made ready for speed (:func:`minidl.inference.fuse`); it cannot be trained."""
        return fuse(self, settings, precision)
