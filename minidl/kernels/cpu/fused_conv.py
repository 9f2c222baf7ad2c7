"""Convolution for inference: window matrix times weight, with everything that follows done block by block.

The same arithmetic as :mod:`minidl.kernels.cpu.conv`; but the input comes padded, the output goes where it shall be,
and bias, leaky ReLU and residual are applied to each block while it is in the cache.
"""

from dataclasses import replace
from math import prod

import numpy as np

from minidl.kernels.cpu.epilogue import add_bias, store
from minidl.kernels.cpu.parallel import run_parts, scratch, split_evenly
from minidl.kernels.cpu.wide import join_pixels, pixels_at_once, widen_weight


class WindowConvolution:
    """One convolution, to be computed block by block.

    Parameters
    ----------
    x: padded input (batch, height, width, channels); its channels may be a slice of more
    weight: (kernel_height, kernel_width, channels, filters), contiguous
    stride: vertical and horizontal
    target: where the output shall be, (batch, height, width, filters), any strides
    epilogue, residual: see :mod:`minidl.kernels.cpu.epilogue`
    """

    def __init__(self, x, weight, stride, target, epilogue, residual=None):
        side_by_side = target.strides[2] == target.shape[3] * target.itemsize  # the target's pixels
        together = pixels_at_once(weight.shape, target.shape[2]) if residual is None and side_by_side else 1
        if together > 1:
            weight, target = widen_weight(weight, together, stride), join_pixels(target, together)
            epilogue = replace(epilogue, bias=np.tile(epilogue.bias, together))
        self.weight = weight.reshape(-1, weight.shape[3])
        self.target, self.epilogue, self.residual = target, epilogue, residual
        height, width, channels = weight.shape[:3]
        image, row, column, channel = x.strides
        shape, steps = (*target.shape[:3], height), (image, stride * row, together * stride * column, row)
        if column == channels * channel:  # neighbouring pixels of a window are one run of numbers
            shape, steps = (*shape, width * channels), (*steps, channel)
        else:
            shape, steps = (*shape, width, channels), (*steps, column, channel)
        self.windows = np.lib.stride_tricks.as_strided(x, shape, steps, writeable=False)
        pixels_at_equal_distance = row == target.shape[2] * column and image == target.shape[1] * row
        self.is_matrix = height == width == stride == 1 and pixels_at_equal_distance

    def by_rows(self, block_size):
        """Each thread multiplies its own blocks, of about ``block_size`` numbers of the window matrix.

        Every thread reads the whole weight, once per block.
        """

        def part(blocks):
            for block in blocks:
                matrix = self._matrix(block, "window matrix")
                values = scratch("values", len(matrix) * self.weight.shape[1], matrix.dtype)
                values = values.reshape(len(matrix), -1)
                np.matmul(matrix, self.weight, out=values)
                self._finish(values, block, slice(None))

        run_parts(part, split_evenly(self._blocks(block_size), self.windows.size))

    def by_weights(self, block_size):
        """The threads share the filters, so that each number of the weight is read by one of them only.

        Good where weights are large and maps small.
        """
        filters = self.weight.shape[1]
        for block in self._blocks(block_size):
            matrix = self._shared_matrix(block)

            def part(own, block=block, matrix=matrix):
                own = slice(own[0], own[-1] + 1)
                values = scratch("values", len(matrix) * (own.stop - own.start), matrix.dtype)
                values = values.reshape(len(matrix), -1)
                np.matmul(matrix, self.weight[:, own], out=values)
                self._finish(values, block, own)

            run_parts(part, split_evenly(range(filters), matrix.size))

    def _finish(self, values, block, filters):
        """Bias and epilogue for (pixels, some of the filters) of a block of the output."""
        add_bias(values, self.epilogue.bias[filters])
        target = self.target[block][..., filters]
        residual = None if self.residual is None else self.residual[block][..., filters]
        store(values.reshape(target.shape), target, self.epilogue, residual)

    def _matrix(self, block, name):
        """One row per window of a block: (pixels, numbers of a window)."""
        windows = self.windows[block]
        pixels = prod(windows.shape[:3])
        if self.is_matrix:  # pixels one after the other, at equal distances: no copy
            steps = (self.windows.strides[2], self.windows.strides[-1])
            return np.lib.stride_tricks.as_strided(windows, (pixels, windows.shape[-1]), steps, writeable=False)
        matrix = scratch(name, windows.size, windows.dtype)
        np.copyto(matrix.reshape(windows.shape), windows)
        return matrix.reshape(pixels, -1)

    def _shared_matrix(self, block):
        """As :meth:`_matrix`, filled by all threads together."""
        if self.is_matrix:
            return self._matrix(block, "")
        windows = self.windows[block]
        matrix = scratch("window matrix of all", windows.size, windows.dtype)
        target = matrix.reshape(windows.shape)
        rows = [(image, row) for image in range(windows.shape[0]) for row in range(windows.shape[1])]

        def part(own):
            for place in own:
                np.copyto(target[place], windows[place])

        run_parts(part, split_evenly(rows, windows.size))
        return matrix.reshape(prod(windows.shape[:3]), -1)

    def _blocks(self, block_size):
        """(images, rows) of about so many numbers: whole images, or rows of one."""
        images, rows = self.windows.shape[:2]
        row_size = self.windows[0, 0].size
        if row_size * rows <= block_size:
            step = max(1, block_size // (row_size * rows))
            return [(slice(image, image + step), slice(None)) for image in range(0, images, step)]
        step = max(1, block_size // row_size)
        starts = range(0, rows, step)
        return [(slice(image, image + 1), slice(row, row + step)) for image in range(images) for row in starts]
