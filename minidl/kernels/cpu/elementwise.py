"""Arithmetic on NumPy arrays of equal shape."""

import numpy as np


def add(a, b):
    """``a + b`` of equal shapes and number types."""
    return a + b


def weighted_sum(a, b, share_a, share_b):
    """``share_a * a + share_b * b`` of equal shapes."""
    return share_a * a + share_b * b


def sigmoid(x):
    """``1 / (1 + e^-x)`` by ``e^-|x|`` alone, so that nothing overflows; any shape."""
    small = np.exp(-np.abs(x))
    return np.where(x >= 0, 1, small) / (1 + small)


def sigmoid_grad(grad, y):
    """``grad * y * (1 - y)``, with the sigmoid's output ``y``."""
    return grad * y * (1 - y)
