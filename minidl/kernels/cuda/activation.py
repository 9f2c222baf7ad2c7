"""Leaky ReLU on a GPU (spec 3.3, notes A1): ``y = x if x > 0 else slope * x``.  Kernels: ``activation.cu``."""

from minidl.device import array_module
from minidl.kernels.cuda.conv_shape import memory_of, pixel_distance
from minidl.kernels.cuda.launch import Source
from minidl.kernels.cuda.packs import launch_packs, pack_width

SOURCE = Source("activation.cu")


def leaky_relu(x, slope):
    """``max(x, slope * x)``, which is leaky ReLU for a slope below 1; any shape."""
    xp = array_module(x)
    x = xp.ascontiguousarray(x)
    y = xp.empty(x.shape, x.dtype)
    launch_packs(SOURCE, "leaky_relu", x.size, x, y, slope, width=pack_width([x.size], x))
    return y


def leaky_relu_grad(grad, y, slope):
    """``grad * (1 if y > 0 else slope)``; the output's sign is the input's, so the output serves."""
    xp = array_module(grad)
    grad, y = xp.ascontiguousarray(grad), xp.ascontiguousarray(y)
    dx = xp.empty(grad.shape, grad.dtype)
    launch_packs(SOURCE, "leaky_relu_grad", grad.size, grad, y, dx, slope, width=pack_width([grad.size], grad, y))
    return dx


def add_into(a, b, y, slope):
    """Write ``leaky(a + b)`` to ``y``, the shortcut of a residual block (spec 3.6); a slope of 1 only adds.

    All three are maps (batch, height, width, channels) of one shape, or slices of the channels of larger maps.
    """
    maps, channels = (a, b, y), y.shape[-1]
    distances = [pixel_distance(each) for each in maps]
    width = pack_width([channels, *distances], *maps)
    launch_packs(SOURCE, "add_maps", y.size, *map(memory_of, maps), slope, channels, *distances, width=width)
