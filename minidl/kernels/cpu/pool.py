"""Pooling on NumPy arrays: the largest value of each window, or the mean of a whole map."""

import numpy as np

from minidl.kernels.shapes import window_count


def maxpool2d(x, size, stride, padding):
    """Largest value of every ``size x size`` window, by the original's padding rule (spec 3.4).

    ``padding`` is the *total*: half of it, rounded down, lies left and top, the rest right and bottom, and it
    never wins (minus infinity, not 0).  NaN counts as larger than every number, as in ``np.maximum``.
    (batch, height, width, channels) -> (batch, out_height, out_width, channels).
    """
    output_size = tuple(window_count(image, size, stride, padding) for image in x.shape[1:3])
    cells = _window_cells(_pad_with_lowest(x, size, stride, padding, output_size), size, stride, output_size)
    y = next(cells).copy()
    for cell in cells:
        np.maximum(y, cell, out=y)
    return y


def maxpool2d_grad(grad, x, y, size, stride, padding):
    """Send each gradient to the cell that won, the first of equal ones; a cell that won several windows adds them up.

    Which cell won is found again from ``x`` and ``y``: cheaper than to note it in every forward pass.
    """
    output_size = y.shape[1:3]
    padded_x = _pad_with_lowest(x, size, stride, padding, output_size)
    padded_dx = np.zeros(padded_x.shape, grad.dtype)
    cells_x = _window_cells(padded_x, size, stride, output_size)
    cells_dx = _window_cells(padded_dx, size, stride, output_size)
    undecided = np.ones(y.shape, bool)
    for cell_x, cell_dx in zip(cells_x, cells_dx, strict=True):
        won = ((cell_x == y) | (cell_x != cell_x)) & undecided  # equal to the largest, or NaN
        undecided &= ~won
        cell_dx += grad * won
    offset = padding // 2
    return np.ascontiguousarray(padded_dx[:, offset : offset + x.shape[1], offset : offset + x.shape[2]])


def _pad_with_lowest(x, size, stride, padding, output_size):
    """The image in a frame of minus infinity, just large enough for every window."""
    batch, height, width, channels = x.shape
    frame = [
        max(image + padding // 2, (out - 1) * stride + size)
        for image, out in zip((height, width), output_size, strict=True)
    ]
    padded = np.full((batch, *frame, channels), -np.inf, x.dtype)
    offset = padding // 2
    padded[:, offset : offset + height, offset : offset + width] = x
    return padded


def _window_cells(padded, size, stride, output_size):
    """For each cell of the window, row by row: that cell of every window, (batch, out_height, out_width, channels)."""
    rows, columns = stride * (output_size[0] - 1) + 1, stride * (output_size[1] - 1) + 1
    for u in range(size):
        for v in range(size):
            yield padded[:, u : u + rows : stride, v : v + columns : stride]


def global_average_pool(x):
    """Mean over height and width: (batch, height, width, channels) -> (batch, channels)."""
    return x.mean(axis=(1, 2))


def global_average_pool_grad(grad, image_size):
    """Every pixel receives its share ``grad / (height * width)``: -> (batch, height, width, channels)."""
    height, width = image_size
    share = grad[:, None, None, :] / (height * width)
    return np.ascontiguousarray(np.broadcast_to(share, (len(grad), height, width, grad.shape[1])))
