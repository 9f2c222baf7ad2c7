"""Activations.  Kernels: ``leaky_relu``, ``sigmoid``, ``softmax``, ``log_softmax`` and their gradients."""

from minidl.device import kernels_for
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
    kernels = kernels_for(x.data)
    y = kernels.sigmoid(x.data)
    return Tensor.from_operation(y, (x,), lambda grad: (kernels.sigmoid_grad(grad, y),), "sigmoid")


def stable_sigmoid(x):
    """The logistic function of an array, without overflow for any x."""
    return kernels_for(x).sigmoid(x)


def log_softmax(x, axis=-1):
    """``x - log(sum(e^x))`` along an axis, with the largest value taken out first so that nothing overflows.

    Backward: ``grad - softmax(x) * sum(grad)``.
    """
    kernels = kernels_for(x.data)
    y = _along_last(kernels.log_softmax, axis, x.data)

    def backward(grad):
        return (_along_last(kernels.log_softmax_grad, axis, grad, y),)

    return Tensor.from_operation(y, (x,), backward, "log_softmax")


def softmax(x, axis=-1):
    """``e^x / sum(e^x)`` along an axis: positive, and 1 in sum (notes H1).

    Backward: ``y * (grad - sum(grad * y))``.
    """
    kernels = kernels_for(x.data)
    y = _along_last(kernels.softmax, axis, x.data)

    def backward(grad):
        return (_along_last(kernels.softmax_grad, axis, grad, y),)

    return Tensor.from_operation(y, (x,), backward, "softmax")


def stable_softmax(x):
    """``e^x / sum(e^x)`` of an array along its last axis, with the largest value taken out first."""
    return kernels_for(x).softmax(x)


def _along_last(kernel, axis, *arrays):
    """What a kernel that works along the last axis gives along ``axis``."""
    return kernel(*(array.swapaxes(axis, -1) for array in arrays)).swapaxes(axis, -1)
