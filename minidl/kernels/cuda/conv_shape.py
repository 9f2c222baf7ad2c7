"""The sizes of a convolution and what follows it, as the CUDA kernels get them: ``conv_shape.cuh``."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from minidl.device import array_module
from minidl.kernels.cuda.launch import REAL

MOST = 2**31 - 256  # pixels of a batch, and weights: kernels count them in int, and round up to a whole tile
FIELDS = (
    *("batch", "height", "width", "in_channels", "out_height", "out_width", "out_channels"),
    *("kernel_height", "kernel_width", "stride_down", "stride_right", "padding_down", "padding_right"),
    *("in_pixel", "out_pixel", "residual_pixel"),
)
CONV_SHAPE = np.dtype([(name, np.int32) for name in FIELDS])


@dataclass(frozen=True)
class Epilogue:
    """``y = leaky(leaky(conv + bias, slope) + residual, final_slope)``; None and slope 1 leave a part out.

    bias (out_channels,) in the parameters' type; residual: an array of the output's shape, or a slice of channels.
    """

    bias: Any = None
    slope: float = 1.0
    residual: Any = None
    final_slope: float = 1.0

    def slopes(self, dtype):
        """The struct ``Epilogue`` of the kernels, for maps of a type."""
        real = REAL[np.dtype(dtype).name]
        return np.array((self.slope, self.final_slope), [("slope", real), ("final_slope", real)])


def conv_shape(x, weight_shape, y, stride, padding, residual=None):
    """The struct ``ConvShape`` for ``x`` (batch, height, width, in_channels) and ``y``, arrays or slices of channels.

    Raises ValueError for more pixels or weights than kernels can count.
    """
    if max(math.prod(x.shape[:3]), math.prod(y.shape[:3]), math.prod(weight_shape)) > MOST:
        raise ValueError(f"a convolution {x.shape} -> {y.shape} is too large for one launch; use a smaller batch")
    distances = [0 if each is None else pixel_distance(each) for each in (x, y, residual)]
    return np.array((*x.shape, *y.shape[1:], *weight_shape[:2], *stride, *padding, *distances), CONV_SHAPE)


def memory_of(array):
    """The numbers of a map from its first to its last as they lie in memory: (numbers,), contiguous, no copy.

    For a slice of channels that includes the channels between; kernels take contiguous arrays only.  None for None.
    """
    if array is None or array.flags.c_contiguous:
        return array
    count = (math.prod(array.shape[:3]) - 1) * pixel_distance(array) + array.shape[3]
    return array_module(array).lib.stride_tricks.as_strided(array, (count,), (array.dtype.itemsize,))


def pixel_distance(array):
    """Numbers from one pixel to the next of a map whose pixels lie one behind the other.

    Raises ValueError for maps that lie otherwise, such as transposed ones.
    """
    batch, height, width, channels = array.shape
    size = array.dtype.itemsize
    distance = array.strides[2] // size if width > 1 else array.strides[1] // size if height > 1 else channels
    if width == height == 1 and batch > 1:
        distance = array.strides[0] // size
    wanted = (height * width * distance * size, width * distance * size, distance * size, size)
    fits = all(size == 1 or own == want for size, own, want in zip(array.shape, array.strides, wanted, strict=True))
    if not fits or distance < channels:
        raise ValueError(f"the pixels of a map {array.shape} with strides {array.strides} do not lie in order")
    return distance


def phase_pixels(dx, stride):
    """The most pixels of ``dx`` in one phase of the gradient of the input: those with one remainder of both strides."""
    batch, height, width, _ = dx.shape
    return batch * -(-height // stride[0]) * -(-width // stride[1])


def term_count(weight):
    """How many products make up one number of the output: kernel_height * kernel_width * in_channels."""
    return math.prod(weight.shape[:3])
