"""Pooling on NumPy arrays: the largest value of each window, or the mean of a whole map."""

import numpy as np

from minidl.kernels.shapes import window_count


def maxpool2d(x, size, stride, padding):
    """Largest value of every ``size x size`` window, by the original's padding rule (spec 3.4).

    ``padding`` is the *total*: half of it, rounded down, lies left and top, the rest right and bottom, and it
    never wins (minus infinity, not 0).  (batch, height, width, channels) -> ``y`` (batch, out_height,
    out_width, channels) and ``winner`` of the same shape: which cell of the window, counted row by row, won;
    the first of equal ones.  NaN counts as larger than every number, as in ``np.maximum``.
    """
    batch, height, width, channels = x.shape
    output_size = window_count(height, size, stride, padding), window_count(width, size, stride, padding)
    padded_size = _padded_size((height, width), size, stride, padding, output_size)
    padded = np.full((batch, *padded_size, channels), -np.inf, x.dtype)
    offset = padding // 2
    padded[:, offset : offset + height, offset : offset + width] = x
    cells = _window_cells(padded, size, stride, output_size)
    y = next(cells).copy()
    winner = np.zeros(y.shape, np.int32)
    for cell, window_cell in enumerate(cells, 1):
        better = ~(window_cell <= y) & (y == y)  # larger or NaN, and none before it was NaN
        np.copyto(y, window_cell, where=better)
        np.copyto(winner, cell, where=better)
    return y, winner


def maxpool2d_grad(grad, winner, image_size, size, stride, padding):
    """Send each gradient to the cell that won; a cell that won several windows adds them up."""
    batch, out_height, out_width, channels = grad.shape
    output_size = (out_height, out_width)
    padded_size = _padded_size(image_size, size, stride, padding, output_size)
    padded = np.zeros((batch, *padded_size, channels), grad.dtype)
    for cell, window_cell in enumerate(_window_cells(padded, size, stride, output_size)):
        window_cell += grad * (winner == cell)
    offset = padding // 2
    return np.ascontiguousarray(padded[:, offset : offset + image_size[0], offset : offset + image_size[1]])


def _padded_size(image_size, size, stride, padding, output_size):
    """Height and width of the image with its padding, just large enough for every window."""
    return tuple(
        max(image + padding // 2, (out - 1) * stride + size) for image, out in zip(image_size, output_size, strict=True)
    )


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
