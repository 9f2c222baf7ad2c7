"""Pooling on NumPy arrays: the largest value of each window, or the mean of a whole map."""

import numpy as np

from minidl.kernels.cpu.parallel import run_parts, scratch, split_evenly
from minidl.kernels.shapes import window_count

BLOCK_SIZE = 1 << 16  # numbers of the output that are worked on at once, so that they stay in the cache


def maxpool2d(x, size, stride, padding):
    """Largest value of every ``size x size`` window, by the original's padding rule (spec 3.4).

    ``padding`` is the *total*: half of it, rounded down, lies left and top, the rest right and bottom, and it
    never wins (minus infinity, not 0).  NaN counts as larger than every number, as in ``np.maximum``.
    (batch, height, width, channels) -> (batch, out_height, out_width, channels).
    """
    output_size = tuple(window_count(image, size, stride, padding) for image in x.shape[1:3])
    x = _with_lowest_around(x, size, stride, padding, output_size)
    y = np.empty((x.shape[0], *output_size, x.shape[3]), x.dtype)

    def part(blocks):
        for image, rows in blocks:
            cells = _window_cells(x[image], size, stride, rows, output_size[1])
            largest = y[image, rows.start : rows.stop]
            np.copyto(largest, next(cells))
            for cell in cells:
                np.maximum(largest, cell, out=largest)

    run_parts(part, split_evenly(_blocks(y), x.size))
    return y


def maxpool2d_grad(grad, x, y, size, stride, padding):
    """Send each gradient to the cell that won, the first of equal ones; a cell that won several windows adds them up.

    Which cell won is found again from ``x`` and ``y``: cheaper than to note it in every forward pass.
    """
    output_size = y.shape[1:3]
    image_size = x.shape[1:3]
    padded_x = _with_lowest_around(x, size, stride, padding, output_size)
    padded_dx = np.zeros(padded_x.shape, grad.dtype)
    apart = stride >= size  # no cell is in two windows

    def part(blocks):
        for image, rows in blocks:
            own_y, own_grad = y[image, rows.start : rows.stop], grad[image, rows.start : rows.stop]
            won, undecided = (scratch(name, own_y.size, np.bool_).reshape(own_y.shape) for name in ("won", "undecided"))
            undecided[...] = True
            cells_x = _window_cells(padded_x[image], size, stride, rows, output_size[1])
            cells_dx = _window_cells(padded_dx[image], size, stride, rows, output_size[1])
            nothing_missing = not np.isnan(own_y).any()
            for cell_x, cell_dx in zip(cells_x, cells_dx, strict=True):
                np.equal(cell_x, own_y, out=won)
                if not nothing_missing:
                    won |= np.isnan(cell_x)  # NaN is the largest, and not equal to itself
                won &= undecided
                undecided ^= won
                if apart:
                    np.multiply(own_grad, won, out=cell_dx)
                else:
                    cell_dx += own_grad * won

    # Windows that overlap add to the same cells: then a whole image is one thread's.
    blocks = _blocks(y) if apart else [(image, range(output_size[0])) for image in range(len(y))]
    run_parts(part, split_evenly(blocks, x.size))
    offset = padding // 2
    return np.ascontiguousarray(padded_dx[:, offset : offset + image_size[0], offset : offset + image_size[1]])


def _with_lowest_around(x, size, stride, padding, output_size):
    """The image in a frame of minus infinity, just large enough for every window; without a copy if none is needed."""
    batch, height, width, channels = x.shape
    offset = padding // 2
    frame = [
        max(image + offset, (out - 1) * stride + size) for image, out in zip((height, width), output_size, strict=True)
    ]
    if frame == [height, width]:
        return x
    padded = np.full((batch, *frame, channels), -np.inf, x.dtype)
    padded[:, offset : offset + height, offset : offset + width] = x
    return padded


def _window_cells(image, size, stride, rows, columns):
    """For each cell of the window, row by row: that cell of the windows in ``rows``, (rows, columns, channels)."""
    last_row, last_column = stride * (rows.stop - 1) + 1, stride * (columns - 1) + 1
    for u in range(size):
        for v in range(size):
            yield image[stride * rows.start + u : last_row + u : stride, v : v + last_column : stride]


def _blocks(y):
    """(image, range of rows) that cut the output into blocks."""
    step = max(1, BLOCK_SIZE // max(1, y[0, 0].size))
    height = y.shape[1]
    return [(image, range(row, min(row + step, height))) for image in range(len(y)) for row in range(0, height, step)]


def global_average_pool(x):
    """Mean over height and width: (batch, height, width, channels) -> (batch, channels)."""
    return x.mean(axis=(1, 2))


def global_average_pool_grad(grad, image_size):
    """Every pixel receives its share ``grad / (height * width)``: -> (batch, height, width, channels)."""
    height, width = image_size
    share = grad[:, None, None, :] / (height * width)
    return np.ascontiguousarray(np.broadcast_to(share, (len(grad), height, width, grad.shape[1])))
