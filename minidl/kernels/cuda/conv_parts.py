"""Before and after the products of a convolution on a GPU: rounded weights, split sums.  Kernels: ``conv_parts.cu``."""

from minidl.device import array_module
from minidl.kernels.cuda.conv_shape import memory_of
from minidl.kernels.cuda.launch import THREADS, Source, blocks_for

SOURCE = Source("conv_parts.cu")


def as_storage(weight, dtype):
    """The weight in the type of the maps: itself, or a copy that is rounded to half precision."""
    weight = array_module(weight).ascontiguousarray(weight)
    if weight.dtype == dtype or dtype != "float16":
        return weight
    rounded = array_module(weight).empty(weight.shape, dtype)
    SOURCE.launch("round_weight", blocks_for(weight.size), THREADS, weight, rounded, weight.size)
    return rounded


def sum_parts(parts, total, count):
    """``total = parts[0] + parts[1] + ...``, in this order; parts holds ``count`` arrays one behind the other."""
    SOURCE.launch("sum_parts", blocks_for(total.size), THREADS, parts, total, count, total.size)


def finish_parts(parts, y, shape, epilogue, count):
    """Fill ``y`` with what follows a convolution whose sums are ``count`` parts, (count, pixels, out_channels)."""
    arguments = epilogue.bias, memory_of(epilogue.residual), memory_of(y), shape, epilogue.slopes(parts.dtype)
    SOURCE.launch("finish_parts", blocks_for(y.size), THREADS, parts, *arguments, count, y.size)
