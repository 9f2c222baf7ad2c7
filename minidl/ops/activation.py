"""Activations.  Kernels: ``leaky_relu``; the others are written with the array's own library."""

from minidl.device import array_module, kernels_for
from minidl.tensor import Tensor


def leaky_relu(x, slope=0.1):
    """``x if x > 0 else slope * x``, any shape.

    Darknet's slope is 0.1 (spec 3.3).  Where the input is negative the gradient shrinks but does not die;
    at exactly 0 it is ``slope``.  Raises ValueError for a slope outside 0 to 1.
    """
    check_slope(slope, "leaky_relu")
    kernels = kernels_for(x.data)
    y = kernels.leaky_relu(x.data, slope)

    def backward(grad):
        return (kernels.leaky_relu_grad(grad, y, slope),)

    return Tensor.from_operation(y, (x,), backward, "leaky_relu")


def check_slope(slope, operation):
    """ValueError unless ``0 <= slope <= 1``: only then is leaky ReLU the larger of ``x`` and ``slope * x``."""
    if not 0 <= slope <= 1:
        raise ValueError(f"{operation}: the slope must lie between 0 and 1, not {slope}")


def sigmoid(x):
    """``1 / (1 + e^-x)``, without overflow for any x: both halves use ``e^-|x| <= 1``.  Derivative ``y (1 - y)``."""
    y = stable_sigmoid(x.data)
    return Tensor.from_operation(y, (x,), lambda grad: (grad * y * (1 - y),), "sigmoid")


def stable_sigmoid(x):
    """The logistic function of an array, by ``e^-|x|`` alone, so that nothing overflows."""
    xp = array_module(x)
    small = xp.exp(-xp.abs(x))
    return xp.where(x >= 0, 1, small) / (1 + small)


def log_softmax(x, axis=-1):
    """``x - log(sum(e^x))`` along an axis, with the largest value taken out first so that nothing overflows.

    Backward: ``grad - softmax(x) * sum(grad)``.
    """
    xp = array_module(x.data)
    shifted = x.data - x.data.max(axis=axis, keepdims=True)
    y = shifted - xp.log(xp.exp(shifted).sum(axis=axis, keepdims=True))

    def backward(grad):
        return (grad - xp.exp(y) * grad.sum(axis=axis, keepdims=True),)

    return Tensor.from_operation(y, (x,), backward, "log_softmax")


def softmax(x, axis=-1):
    """``e^x / sum(e^x)`` along an axis: positive, and 1 in sum (notes H1).

    Backward: ``y * (grad - sum(grad * y))``.
    """
    y = stable_softmax(x.data, axis)

    def backward(grad):
        return (y * (grad - (grad * y).sum(axis=axis, keepdims=True)),)

    return Tensor.from_operation(y, (x,), backward, "softmax")


def stable_softmax(x, axis=-1):
    """``e^x / sum(e^x)`` of an array, with the largest value taken out first so that nothing overflows."""
    xp = array_module(x)
    exponentials = xp.exp(x - x.max(axis=axis, keepdims=True))
    return exponentials / exponentials.sum(axis=axis, keepdims=True)
