"""Upsampling on NumPy arrays: nearest neighbour, as YOLOv3 does, and bilinear to compare it with (notes E4)."""

import numpy as np

from minidl.kernels.cpu.parallel import run_parts, split_evenly


def upsample_nearest(x, factor):
    """``y[i, j] = x[i // factor, j // factor]`` (spec 3.5).

    (batch, height, width, channels) -> (batch, height * factor, width * factor, channels).
    """
    batch, height, width, channels = x.shape
    y = np.empty((batch, height * factor, width * factor, channels), x.dtype)
    upsample_nearest_into(x, factor, y)
    return y


def upsample_nearest_into(x, factor, y):
    """:func:`upsample_nearest`, written to ``y``, which may be a slice of a larger map."""
    rows = [(image, row) for image in range(x.shape[0]) for row in range(x.shape[1])]

    def part(own):
        for image, row in own:
            # (factor, width, factor, channels): each pixel to factor x factor places
            places = y[image, factor * row : factor * (row + 1)].reshape(factor, x.shape[2], factor, x.shape[3])
            places[...] = x[image, row][None, :, None]

    run_parts(part, split_evenly(rows, y.size))


def upsample_nearest_grad(grad, factor):
    """Each input pixel fed a square of ``factor x factor`` outputs: the sum of their gradients."""
    batch, height, width, channels = grad.shape
    squares = grad.reshape(batch, height // factor, factor, width // factor, factor, channels)
    return squares.sum(axis=(2, 4))


def upsample_bilinear(x, factor):
    """Bilinear interpolation with pixel centres kept in place (``align_corners=False``).

    Output row i lies at input position ``(i + 0.5) / factor - 0.5``, moved inside the image; it is the mean of the
    two rows around it, weighted by nearness.  Columns likewise: two small matrices, one per axis.
    """
    rows = _interpolation_matrix(x.shape[1], factor, x.dtype)  # (height * factor, height)
    columns = _interpolation_matrix(x.shape[2], factor, x.dtype)  # (width * factor, width)
    return _apply(rows, columns, x)


def upsample_bilinear_grad(grad, factor):
    """The interpolation is linear, so its gradient is the transposed matrices."""
    rows = _interpolation_matrix(grad.shape[1] // factor, factor, grad.dtype)
    columns = _interpolation_matrix(grad.shape[2] // factor, factor, grad.dtype)
    return _apply(rows.T, columns.T, grad)


def _interpolation_matrix(size, factor, dtype):
    """Row i holds the weights with which output position i mixes the ``size`` input positions."""
    position = (np.arange(size * factor) + 0.5) / factor - 0.5
    position = np.clip(position, 0, size - 1)
    lower = np.minimum(position.astype(int), max(0, size - 2))
    upper = np.minimum(lower + 1, size - 1)
    matrix = np.zeros((size * factor, size), dtype)
    outputs = np.arange(size * factor)
    np.add.at(matrix, (outputs, lower), 1 - (position - lower))
    np.add.at(matrix, (outputs, upper), position - lower)
    return matrix


def _apply(rows, columns, x):
    """``y[n, i, j, c] = sum over h, w of rows[i, h] * columns[j, w] * x[n, h, w, c]``."""
    batch, height, width, channels = x.shape
    tall = rows @ x.reshape(batch, height, width * channels)  # (batch, new_height, width * channels)
    return columns @ tall.reshape(batch, len(rows), width, channels)  # (batch, new_height, new_width, channels)
