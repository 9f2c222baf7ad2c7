"""Reductions: many numbers to fewer.  ``axis`` is None (all), a number or several; ``keepdims`` as in NumPy.

Sums and means of float16 numbers are float32.  Kernel: ``sum_all``; along some axes the array's own library sums.
"""

import math

from minidl.device import array_module, kernels_for
from minidl.ops.arithmetic import sum_type
from minidl.tensor import Tensor


def _spread(grad, shape, axis, keepdims):
    """The gradient of a reduced array, as a view in the shape before the reduction."""
    xp = array_module(grad)
    if axis is not None and not keepdims:
        axes = (axis,) if isinstance(axis, int) else axis
        grad = xp.expand_dims(grad, tuple(each % len(shape) for each in axes))
    return xp.broadcast_to(grad, shape)


def sum_value(a, axis=None, keepdims=False):
    """Sum: every input receives the gradient of the sum it went into."""

    def backward(grad):
        return (_spread(grad, a.shape, axis, keepdims),)

    if axis is None:
        out = kernels_for(a.data).sum_all(a.data)
        out = out.reshape((1,) * a.ndim) if keepdims else out
    else:
        out = a.data.sum(axis=axis, keepdims=keepdims, dtype=sum_type(a.dtype))
    return Tensor.from_operation(out, (a,), backward, "sum")


def mean(a, axis=None, keepdims=False):
    """Mean: the gradient, shared evenly."""
    out = a.data.mean(axis=axis, keepdims=keepdims, dtype=sum_type(a.dtype))
    share = math.prod(out.shape) / max(1, a.size)

    def backward(grad):
        return (_spread(grad * share, a.shape, axis, keepdims),)

    return Tensor.from_operation(out, (a,), backward, "mean")


def max_value(a, axis=None, keepdims=False):
    """Largest value: its holder receives the gradient; equal holders share it."""
    peak = a.data.max(axis=axis, keepdims=True)
    holders = a.data == peak
    out = a.data.max(axis=axis, keepdims=keepdims)

    def backward(grad):
        count = holders.sum(axis=axis, keepdims=True, dtype=a.dtype)
        return (_spread(grad, a.shape, axis, keepdims) * holders / count,)

    return Tensor.from_operation(out, (a,), backward, "max")
