"""Convolution as a matrix product, on NumPy arrays.

    y[n, i, j, o] = sum over u, v, c of  x[n, i * stride + u - padding, j * stride + v - padding, c] * w[u, v, c, o]

(no flip of the kernel, zeros outside the image).  Each window of the image becomes one row of a *window
matrix* of ``kernel_height * kernel_width * channels`` columns; the whole convolution is then
``window_matrix @ weight``.  The window matrix is ``kernel_height * kernel_width`` times as large as the
image, so it is built and used in blocks that stay in the cache.

Layouts: image (batch, height, width, channels), weight (kernel_height, kernel_width, in_channels,
out_channels).  Source: Chellapilla et al. 2006, "High Performance Convolutional Neural Networks for
Document Processing"; the output size is that of the notes' layer table (B2).
"""

from math import prod

import numpy as np

from minidl.kernels.cpu.choice import FuseSettings, choose
from minidl.kernels.cpu.epilogue import Epilogue
from minidl.kernels.cpu.parallel import get_num_threads, run_parts, scratch, split_evenly
from minidl.kernels.cpu.rows import sum_rows
from minidl.kernels.cpu.wide import join_pixels, narrow_weight, pixels_at_once, widen_weight
from minidl.kernels.cpu.winograd import WinogradConvolution, padded_size, transform_kernel
from minidl.kernels.shapes import conv_output_size

# Numbers in one block of the window matrix: 1 MiB of float32, so that it is still in the cache when multiplied.
BLOCK_SIZE = 1 << 18
# Windows in one block at least, where the weight's gradient is computed: each block's product is as large as the weight
# and is added to the others', which must not take as long as the product itself.
WINDOWS_AT_LEAST = 1024


# From so many operations on, a 3x3 convolution with stride 1 may go Winograd's way; with other settings, such as
# FuseSettings(winograd=()), it never does.  The numbers differ by rounding.
MANY_OPERATIONS = 1_000_000_000
TRAINING = FuseSettings()


def conv2d(x, weight, bias, stride, padding):
    """The convolution above, plus ``bias`` (out_channels,) unless it is None.

    ``stride`` and ``padding`` are ``(vertical, horizontal)``.
    (batch, height, width, in_channels) -> (batch, out_height, out_width, out_channels).
    """
    size = conv_output_size(x.shape[1:3], weight.shape[:2], stride, padding)
    y = np.empty((x.shape[0], *size, weight.shape[3]), x.dtype)
    _correlate(x, (padding[0], padding[0], padding[1], padding[1]), weight, stride, y)
    if bias is not None:
        y += bias
    return y


def conv2d_grad_bias(grad):
    """``sum over n, i, j of grad[n, i, j, o]``: (batch, out_height, out_width, out_channels) -> (out_channels,)."""
    return sum_rows(grad.reshape(-1, grad.shape[-1]))


def conv2d_grad_weight(x, grad, kernel_size, stride, padding):
    """Gradient with respect to the weight: ``window_matrix(x).T @ grad``, summed over blocks.

    Every output pixel multiplied its window by the weight, so each adds ``outer(window, grad)``.
    -> (kernel_height, kernel_width, in_channels, out_channels).
    """
    x = zero_pad(x, *padding)
    grad = np.ascontiguousarray(grad)
    shape = (*kernel_size, x.shape[3], grad.shape[3])
    together = pixels_at_once(shape, grad.shape[2])
    if together > 1:
        wide_grad = join_pixels(grad, together)
        wide_size = (kernel_size[0], kernel_size[1] + (together - 1) * stride[1])
        wide = conv2d_grad_weight(x, wide_grad, wide_size, (stride[0], stride[1] * together), (0, 0))
        return narrow_weight(wide, shape, together, stride[1])
    windows = _window_view(x, kernel_size, stride, grad.shape[1:3])
    columns = windows[0, 0, 0].size
    filters = grad.shape[3]

    def part(blocks):
        total = np.empty((columns, filters), grad.dtype)
        product = total  # the first one; the others come to a buffer that is used again
        for block in blocks:
            np.matmul(_window_matrix(windows[block]).T, grad[block].reshape(-1, filters), out=product)
            if product is not total:
                total += product
            product = scratch("product", total.size, total.dtype).reshape(total.shape)
        return total

    blocks = _blocks(windows, max(BLOCK_SIZE, WINDOWS_AT_LEAST * columns))
    if not blocks:  # not one image
        return np.zeros(shape, grad.dtype)
    total, *others = run_parts(part, split_evenly(blocks, windows.size))
    for other in others:
        total += other
    return total.reshape(shape)


def conv2d_grad_input(grad, weight, image_size, stride, padding):
    """Gradient with respect to the image: again convolutions, with the kernel turned round.

    Input row ``i`` met kernel row ``u`` in output row ``(i + padding - u) / stride``, if that is whole.
    So rows with the same remainder ``r = (i + padding) mod stride`` met the same kernel rows ``r, r + stride,
    r + 2 * stride, ...``, and within such a class of rows neighbours differ by one output row: an ordinary
    convolution of ``grad`` with stride 1.  The same holds for columns, which makes ``stride ** 2`` small
    convolutions (one if stride is 1), and no product is wasted on zeros.

    (batch, out_height, out_width, out_channels) -> (batch, height, width, in_channels).
    """
    covered = weight.shape[0] >= stride[0] and weight.shape[1] >= stride[1]  # else some pixels are in no window
    dx = (np.empty if covered else np.zeros)((grad.shape[0], *image_size, weight.shape[2]), grad.dtype)
    grad = np.ascontiguousarray(grad)
    for vertical in _phases(image_size[0], weight.shape[0], stride[0], padding[0], grad.shape[1]):
        for horizontal in _phases(image_size[1], weight.shape[1], stride[1], padding[1], grad.shape[2]):
            taps = weight[vertical.taps, horizontal.taps].transpose(0, 1, 3, 2)  # (u, v, out_channels, in_channels)
            frame = (vertical.before, vertical.after, horizontal.before, horizontal.after)
            _correlate(grad, frame, taps, (1, 1), dx[:, vertical.rows, horizontal.rows])
    return dx


class _Phase:
    """The image rows that share a remainder: which they are, their kernel rows, and the padding of ``grad``."""

    def __init__(self, remainder, size, kernel, stride, padding, outputs):
        count = len(range(remainder, kernel, stride))  # kernel rows that these image rows meet
        self.taps = slice(remainder + stride * (count - 1), None, -stride)  # the last one first
        first = max(0, -(-(padding - remainder) // stride))  # smallest q with stride * q + remainder - padding >= 0
        last = (size - 1 + padding - remainder) // stride
        self.rows = slice(stride * first + remainder - padding, None, stride)
        self.empty = count == 0 or last < first
        self.before = count - 1 - first  # zeros needed above grad; negative: rows of grad not needed
        self.after = last - (outputs - 1)


def _phases(size, kernel, stride, padding, outputs):
    phases = (_Phase(remainder, size, kernel, stride, padding, outputs) for remainder in range(stride))
    return [phase for phase in phases if not phase.empty]


def zero_pad(x, vertical, horizontal):
    """``x`` with so many zeros on each side of its height and width; contiguous in any case."""
    return _pad_or_crop(x, vertical, vertical, horizontal, horizontal)


def _pad_or_crop(x, top, bottom, left, right):
    """``x`` with zeros added on each side of height and width, or rows taken away where a number is negative."""
    batch, height, width, channels = x.shape
    x = x[:, max(0, -top) : height - max(0, -bottom), max(0, -left) : width - max(0, -right)]
    if max(top, bottom, left, right) <= 0:
        return np.ascontiguousarray(x)
    padded = np.zeros((batch, height + top + bottom, width + left + right, channels), x.dtype)
    padded[:, max(0, top) :, max(0, left) :][:, : x.shape[1], : x.shape[2]] = x
    return padded


def _correlate(x, frame, weight, stride, y):
    """Fill ``y`` with the convolution of ``x`` in a frame of zeros (top, bottom, left, right)."""
    tile = _tile_size(weight.shape, stride, y.shape)
    if tile is None:
        _by_window_matrix(_pad_or_crop(x, *frame), weight, stride, y)
    else:
        _by_tiles(x, frame, weight, tile, y)


def _tile_size(weight_shape, stride, output_shape):
    """The tiles of Winograd's way for a large 3x3 convolution with stride 1, where they pay; else None.

    Here the kernel is new in every step, so its transform counts as well (:func:`minidl.kernels.cpu.choice.choose`).
    """
    operations = 2 * prod(weight_shape) * prod(output_shape[:3])
    if weight_shape[:2] != (3, 3) or stride != (1, 1) or operations < MANY_OPERATIONS:
        return None
    return choose(weight_shape, 1, 1, output_shape, TRAINING).tile


def _by_tiles(x, frame, weight, tile, y):
    """The convolution in Winograd's way (:mod:`minidl.kernels.cpu.winograd`)."""
    way = choose(weight.shape, 1, 1, y.shape, TRAINING)
    height, width = padded_size(y.shape[1:3], tile)
    top, left = frame[0], frame[2]
    x = _pad_or_crop(x, top, height - top - x.shape[1], left, width - left - x.shape[2])
    kernel = transform_kernel(weight, tile, way.filters_at_once)
    convolution = WinogradConvolution(x, kernel, tile, y, Epilogue(np.zeros(y.shape[3], y.dtype)))
    (convolution.by_weights if way.shared else convolution.by_rows)(way.at_once)


def _by_window_matrix(x, weight, stride, y):
    """The convolution of ``x``, which is padded already and contiguous, by the window matrix."""
    together = pixels_at_once(weight.shape, y.shape[2])
    if together > 1 and y.flags.c_contiguous:
        weight, stride = widen_weight(weight, together, stride[1]), (stride[0], stride[1] * together)
        y = join_pixels(y, together)
    flat_weight = np.ascontiguousarray(weight).reshape(-1, weight.shape[3])
    windows = _window_view(x, weight.shape[:2], stride, y.shape[1:3])

    def part(blocks):
        for block in blocks:
            target = y[block]  # whole images, or rows of one image
            matrix = _window_matrix(windows[block])
            if target.flags.c_contiguous:
                np.matmul(matrix, flat_weight, out=target.reshape(len(matrix), -1))
            else:
                values = scratch("values", target.size, y.dtype).reshape(len(matrix), -1)
                target[...] = np.matmul(matrix, flat_weight, out=values).reshape(target.shape)

    run_parts(part, split_evenly(_blocks(windows, BLOCK_SIZE), windows.size))


def _window_view(x, kernel_size, stride, output_size):
    """All windows as a view: (batch, out_height, out_width, kernel_height, kernel_width * channels), no copy.

    Channels last make ``kernel_width * channels`` neighbouring numbers of a window's row contiguous.
    """
    # Not x.strides: NumPy calls an image of one channel contiguous whatever its last stride says.
    channel_step = x.itemsize
    column_step = x.shape[3] * channel_step
    row_step = x.shape[2] * column_step
    batch_step = x.shape[1] * row_step
    shape = (x.shape[0], *output_size, kernel_size[0], kernel_size[1] * x.shape[3])
    steps = (batch_step, row_step * stride[0], column_step * stride[1], row_step, channel_step)
    return np.ndarray(shape, x.dtype, x, 0, steps)  # as_strided() takes ten times as long


def _blocks(windows, block_size):
    """Index pairs (images, rows) that cut the windows into blocks of about ``block_size`` numbers."""
    images, rows = windows.shape[:2]
    row_size = max(1, prod(windows.shape[2:]))
    if row_size * rows <= block_size:
        # Every thread gets as many blocks as the others, where there are enough images.
        threads = get_num_threads()
        rounds = -(-images * row_size * rows // (threads * block_size))
        step = max(1, -(-images // (threads * max(1, rounds))))
        return [(slice(image, image + step), slice(None)) for image in range(0, images, step)]
    step = max(1, block_size // row_size)
    return [
        (slice(image, image + 1), slice(row, row + step)) for image in range(images) for row in range(0, rows, step)
    ]


def _window_matrix(windows):
    """One row per window: (pixels, kernel_height * kernel_width * channels), contiguous."""
    pixels = windows.shape[0] * windows.shape[1] * windows.shape[2]
    columns = windows.shape[3] * windows.shape[4]
    if windows.flags.c_contiguous:  # 1x1 windows side by side: the image itself
        return windows.reshape(pixels, columns)
    matrix = scratch("window matrix", pixels * columns, windows.dtype).reshape(windows.shape)
    np.copyto(matrix, windows)
    return matrix.reshape(pixels, columns)
