"""Losses and their gradients on a GPU (notes H1, H2).  Kernels: ``losses.cu``.

Sums are left on the GPU, as arrays without axes, so that nothing waits for them.
"""

import math

import numpy as np

from minidl.device import array_module
from minidl.kernels.cuda.launch import THREADS, Source, blocks_for
from minidl.kernels.cuda.reduce import add_parts, part_count
from minidl.kernels.cuda.softmax import log_softmax

SOURCE = Source("losses.cu")
MOST_AXES = 6
BROADCAST = np.dtype([("axes", np.int32), ("size", np.int32, MOST_AXES), ("stride", np.int32, MOST_AXES)])


def bce_with_logits(x, targets, weights):
    """``sum w [max(x, 0) - x t + log(1 + e^-|x|)]``; targets and weights broadcast to x, weights None for 1."""
    return _sum("bce_with_logits", x, targets, weights)


def bce_with_logits_grad(grad, x, targets, weights):
    """``grad * w * (sigmoid(x) - t)``; grad: an array without axes."""
    return _difference("bce_with_logits_grad", grad, x, targets, weights)


def squared_error(x, targets, weights):
    """``sum w (x - t)^2 / 2``; targets and weights broadcast to x, weights None for 1."""
    return _sum("squared_error", x, targets, weights)


def squared_error_grad(grad, x, targets, weights):
    """``grad * w * (x - t)``; grad: an array without axes."""
    return _difference("squared_error_grad", grad, x, targets, weights)


def cross_entropy(x, labels):
    """``-sum log softmax(x)[label]`` of x (count, classes), and the logarithms, which the gradient needs.

    NaN where a label is no class: to look at the labels would be to wait for the GPU.
    """
    xp = array_module(x)
    log_probabilities = log_softmax(x)
    parts = xp.empty(part_count(len(x)), x.dtype)
    labels = xp.ascontiguousarray(labels, dtype=np.int32)
    SOURCE.launch("cross_entropy", parts.size, THREADS, log_probabilities, labels, parts, *x.shape)
    return add_parts(parts), log_probabilities


def cross_entropy_grad(grad, log_probabilities, labels):
    """``grad * (softmax - one_hot)``; grad: an array without axes."""
    xp = array_module(grad)
    dx = xp.empty(log_probabilities.shape, log_probabilities.dtype)
    labels = xp.ascontiguousarray(labels, dtype=np.int32)
    arguments = grad, log_probabilities, labels, dx, dx.size, dx.shape[1]
    SOURCE.launch("cross_entropy_grad", blocks_for(dx.size), THREADS, *arguments)
    return dx


def _sum(kernel, x, targets, weights):
    xp = array_module(x)
    parts = xp.empty(part_count(x.size), x.dtype)
    inputs = xp.ascontiguousarray(x), *_broadcast(targets, x.shape), *_broadcast(weights, x.shape)
    SOURCE.launch(kernel, parts.size, THREADS, *inputs, parts, x.size)
    return add_parts(parts)


def _difference(kernel, grad, x, targets, weights):
    xp = array_module(x)
    dx = xp.empty(x.shape, x.dtype)
    inputs = grad, xp.ascontiguousarray(x), *_broadcast(targets, x.shape), *_broadcast(weights, x.shape)
    SOURCE.launch(kernel, blocks_for(x.size), THREADS, *inputs, dx, x.size)
    return dx


def _broadcast(values, shape):
    """The pointer and the struct ``Broadcast`` of an array that is broadcast to ``shape``; None for no array.

    Neighbouring axes along which it is stretched, or along which it is not, count as one: fewer divisions.
    """
    if values is None:
        return None, np.zeros((), BROADCAST)
    sizes, strides = [], []
    own_shape = (1,) * (len(shape) - values.ndim) + values.shape
    for axis, (own, full) in enumerate(zip(own_shape, shape, strict=True)):
        if full == 1:
            continue
        stride = 0 if own == 1 else math.prod(own_shape[axis + 1 :])
        if sizes and (strides[-1] == 0) == (stride == 0):
            sizes[-1], strides[-1] = sizes[-1] * full, stride
        else:
            sizes.append(full)
            strides.append(stride)
    if len(sizes) > MOST_AXES:
        raise ValueError(f"broadcasting {values.shape} to {shape} takes more than {MOST_AXES} axes")
    padding = [0] * (MOST_AXES - len(sizes))
    struct = np.array((len(sizes), sizes + padding, strides + padding), BROADCAST)
    return array_module(values).ascontiguousarray(values), struct
