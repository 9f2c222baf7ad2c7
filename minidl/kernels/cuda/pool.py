"""Pooling on a GPU: the largest value of each window, or the mean of a whole map.  Kernels: ``pool.cu``."""

import numpy as np

from minidl.device import array_module
from minidl.kernels.cuda.conv_shape import memory_of, pixel_distance
from minidl.kernels.cuda.launch import Source
from minidl.kernels.cuda.packs import launch_packs, pack_width
from minidl.kernels.shapes import window_count

SOURCE = Source("pool.cu")
FIELDS = "height", "width", "channels", "out_height", "out_width", "size", "stride", "offset", "x_pixel", "y_pixel"
WINDOWS = np.dtype([(name, np.int32) for name in FIELDS])
MEAN_BLOCK = 32, 8  # channels, and threads that share the pixels of each


def maxpool2d(x, size, stride, padding):
    """Largest value of every ``size x size`` window, by the original's padding rule (spec 3.4).

    ``padding`` is the *total*, at most ``2 * (size - 1)``: half of it, rounded down, lies left and top, the rest right
    and bottom, and it never wins.  NaN counts as larger than every number.
    (batch, height, width, channels) -> (batch, out_height, out_width, channels).
    """
    xp = array_module(x)
    output_size = (window_count(image, size, stride, padding) for image in x.shape[1:3])
    y = xp.empty((x.shape[0], *output_size, x.shape[3]), x.dtype)
    maxpool2d_into(xp.ascontiguousarray(x), size, stride, padding, y)
    return y


def maxpool2d_into(x, size, stride, padding, y):
    """:func:`maxpool2d`, written to ``y``; both may be slices of the channels of larger maps."""
    windows = _windows(x, y, size, stride, padding)
    width = pack_width([x.shape[-1], pixel_distance(x), pixel_distance(y)], x, y)
    launch_packs(SOURCE, "maxpool2d", y.size, memory_of(x), memory_of(y), windows, width=width)


def maxpool2d_grad(grad, x, y, size, stride, padding):
    """Send each gradient to the cell that won, the first of equal ones; a cell that won several windows adds them up.

    Which cell won is found again from ``x`` and ``y``: every cell asks the windows that cover it.
    """
    xp = array_module(x)
    grad, x, y = (xp.ascontiguousarray(each) for each in (grad, x, y))
    dx = xp.empty(x.shape, grad.dtype)
    windows = _windows(x, y, size, stride, padding)
    width = pack_width(x.shape[-1:], grad, x, y)
    launch_packs(SOURCE, "maxpool2d_grad", x.size, grad, x, y, dx, windows, width=width)
    return dx


def _windows(x, y, size, stride, padding):
    """The struct ``Windows`` of the kernels."""
    values = (*x.shape[1:], *y.shape[1:3], size, stride, padding // 2, pixel_distance(x), pixel_distance(y))
    return np.array(values, WINDOWS)


def global_average_pool(x):
    """Mean over height and width: (batch, height, width, channels) -> (batch, channels)."""
    xp = array_module(x)
    x = xp.ascontiguousarray(x)
    batch, height, width, channels = x.shape
    y = xp.empty((batch, channels), x.dtype)
    if y.size:
        grid = -(-channels // MEAN_BLOCK[0]), batch
        SOURCE.launch("global_average_pool", grid, MEAN_BLOCK, x, y, height * width, channels)
    return y


def global_average_pool_grad(grad, image_size):
    """Every pixel receives its share ``grad / (height * width)``: -> (batch, height, width, channels)."""
    xp = array_module(grad)
    grad = xp.ascontiguousarray(grad)
    batch, channels = grad.shape
    height, width = image_size
    dx = xp.empty((batch, height, width, channels), grad.dtype)
    launch_packs(
        SOURCE, "global_average_pool_grad", dx.size, grad, dx, height * width, channels, width=pack_width([channels])
    )
    return dx
