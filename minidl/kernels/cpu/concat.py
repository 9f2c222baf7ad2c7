"""Concatenation along channels on NumPy arrays (notes A1, E5, F1; spec 3.7)."""

import numpy as np


def concat(arrays):
    """``[(..., c1), (..., c2), ...] -> (..., c1 + c2 + ...)``."""
    return np.concatenate(arrays, axis=-1)


def concat_grad(grad, channels):
    """Cut the gradient apart again: one contiguous array per input, with so many ``channels`` each."""
    edges = np.cumsum(channels)
    return [np.ascontiguousarray(grad[..., stop - count : stop]) for stop, count in zip(edges, channels, strict=True)]
