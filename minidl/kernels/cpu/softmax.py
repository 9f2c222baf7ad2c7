"""Softmax and its logarithm along the last axis of NumPy arrays (notes H1).

The largest number of a row is taken out first, so that nothing overflows.
"""

import numpy as np


def softmax(x):
    """``e^x / sum(e^x)``: (..., columns)."""
    exponentials = np.exp(x - x.max(axis=-1, keepdims=True))
    return exponentials / exponentials.sum(axis=-1, keepdims=True)


def softmax_grad(grad, y):
    """``y * (grad - sum(grad * y))``, with the output ``y``."""
    return y * (grad - (grad * y).sum(axis=-1, keepdims=True))


def log_softmax(x):
    """``x - log(sum(e^x))``: (..., columns)."""
    shifted = x - x.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def log_softmax_grad(grad, y):
    """``grad - e^y * sum(grad)``, with the output ``y``."""
    return grad - np.exp(y) * grad.sum(axis=-1, keepdims=True)
