"""Concatenation along channels on a GPU (notes A1, E5, F1; spec 3.7).  Kernel: ``concat.cu``."""

from itertools import accumulate

from minidl.device import array_module
from minidl.kernels.cuda.conv_shape import memory_of, pixel_distance
from minidl.kernels.cuda.launch import Source
from minidl.kernels.cuda.packs import launch_packs, pack_width

SOURCE = Source("concat.cu")


def concat(arrays):
    """``[(..., c1), (..., c2), ...] -> (..., c1 + c2 + ...)``."""
    channels = [each.shape[-1] for each in arrays]
    y = array_module(arrays[0]).empty((*arrays[0].shape[:-1], sum(channels)), arrays[0].dtype)
    for array, part in zip(arrays, _parts(y, channels), strict=True):
        copy_into(_as_map(array), part)
    return y


def concat_grad(grad, channels):
    """Cut the gradient apart again: one contiguous array per input, with so many ``channels`` each."""
    xp = array_module(grad)
    parts = []
    for part, count in zip(_parts(grad, channels), channels, strict=True):
        parts.append(xp.empty((*grad.shape[:-1], count), grad.dtype))
        copy_into(part, _as_map(parts[-1]))
    return parts


def copy_into(x, y):
    """Write ``x`` to ``y``: maps (batch, height, width, channels), or slices of the channels of larger maps."""
    if x.size == 0:
        return
    channels = x.shape[-1]
    distances = pixel_distance(x), pixel_distance(y)
    width = pack_width([channels, *distances], x, y)
    launch_packs(SOURCE, "copy_map", x.size, memory_of(x), memory_of(y), channels, *distances, width=width)


def _as_map(array):
    """(..., channels) -> (1, 1, pixels, channels), contiguous."""
    return array_module(array).ascontiguousarray(array).reshape(1, 1, -1, array.shape[-1])


def _parts(array, channels):
    """The array's slices of so many ``channels`` each, as maps."""
    array = _as_map(array)
    return [array[..., stop - count : stop] for stop, count in zip(accumulate(channels), channels, strict=True)]
