"""Convolution with fewer multiplications: Winograd's minimal filtering, for 3x3 kernels with stride 1.

Two neighbouring outputs of a filter with three taps share most of their inputs, and from four inputs both can be had
with four multiplications instead of six.  In two dimensions a tile of m x m outputs, from (m + 2) x (m + 2) inputs d
and the kernel g, is

    y = A^T [ (G g G^T) * (B^T d B) ] A            (* number by number)

with small fixed matrices: 16 multiplications in place of 36 for m = 2, 36 in place of 144 for m = 4.  G g G^T is made
once.  Over C channels in and O out the products add up over C, for each of the (m + 2)^2 places of a tile on its
own: that is one matrix product (tiles x C) @ (C x O) per place, and these are done by BLAS.

The two transforms of the data are matrix products as well.  A tile as a vector of (m + 2)^2 numbers is multiplied by
the Kronecker product of B^T with itself, and so on for A^T; all tiles and channels are columns.

The price: U = G g G^T is (m + 2)^2 / 9 times as large as the kernel (4 times for m = 4), and rounding grows: F(4x4)
loses about one digit.  Source: Lavin and Gray 2016, "Fast Algorithms for Convolutional Neural Networks".
"""

from dataclasses import dataclass
from functools import cache

import numpy as np

from minidl.kernels.cpu.epilogue import activate, add_and_store
from minidl.kernels.cpu.parallel import run_parts, scratch, split_evenly


@dataclass(frozen=True)
class Tile:
    """The matrices of F(m x m, 3 x 3): B^T (m + 2, m + 2), G (m + 2, 3), A^T (m, m + 2), float64."""

    size: int  # m
    input_transform: np.ndarray
    kernel_transform: np.ndarray
    output_transform: np.ndarray


@cache
def tile(size):
    """F(2x2, 3x3), which uses the points 0, 1, -1; or F(4x4, 3x3), with 2 and -2 besides."""
    if size == 2:
        return Tile(
            2,
            np.array([[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]], float),
            np.array([[1, 0, 0], [1 / 2, 1 / 2, 1 / 2], [1 / 2, -1 / 2, 1 / 2], [0, 0, 1]]),
            np.array([[1, 1, 1, 0], [0, 1, -1, -1]], float),
        )
    return Tile(
        4,
        np.array(
            [
                [4, 0, -5, 0, 1, 0],
                [0, -4, -4, 1, 1, 0],
                [0, 4, -4, -1, 1, 0],
                [0, -2, -1, 2, 1, 0],
                [0, 2, -1, -2, 1, 0],
                [0, 4, 0, -5, 0, 1],
            ],
            float,
        ),
        np.array(
            [
                [1 / 4, 0, 0],
                [-1 / 6, -1 / 6, -1 / 6],
                [-1 / 6, 1 / 6, -1 / 6],
                [1 / 24, 1 / 12, 1 / 6],
                [1 / 24, -1 / 12, 1 / 6],
                [0, 0, 1],
            ]
        ),
        np.array([[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]], float),
    )


def transform_kernel(weight, size, at_once):
    """G g G^T of every pair of channels, cut into chunks of ``at_once`` filters.

    (3, 3, in, out) -> (chunks, (size + 2)^2, in, at_once); filters that the last chunk lacks are zero.
    """
    channels, filters = weight.shape[2:]
    matrix = _kronecker(tile(size).kernel_transform, weight.dtype)  # (places, 9)
    chunks = np.empty((-(-filters // at_once), len(matrix), channels, at_once), weight.dtype)

    def part(numbers):
        own = scratch("kernels", 9 * channels * at_once, weight.dtype).reshape(3, 3, channels, at_once)
        for number in numbers:
            some = weight[..., number * at_once : (number + 1) * at_once]
            own[..., : some.shape[3]] = some
            own[..., some.shape[3] :] = 0
            np.matmul(matrix, own.reshape(9, -1), out=chunks[number].reshape(len(matrix), -1))

    run_parts(part, split_evenly(range(len(chunks)), chunks.size))
    return chunks


@cache
def _squares(size, dtype):
    """B^T and A^T for tiles as vectors: (places, places) and (size^2, places)."""
    return _kronecker(tile(size).input_transform, dtype), _kronecker(tile(size).output_transform, dtype)


def _kronecker(matrix, dtype):
    return np.kron(matrix, matrix).astype(dtype)


def tile_counts(image_size, size):
    """Rows and columns of tiles that cover an image; the last ones may stick out."""
    return tuple(-(-side // size) for side in image_size)


def padded_size(image_size, size):
    """Height and width that the padded input needs: one row above, and below as many as the last tiles reach."""
    return tuple(size * count + 2 for count in tile_counts(image_size, size))


class WinogradConvolution:
    """One convolution of this kind, cut into its steps.

    Parameters
    ----------
    x: padded input (batch, :func:`padded_size` or more, channels), zeros around
    kernel: from :func:`transform_kernel`
    size: m, 2 or 4
    target: where the output shall be, (batch, height, width, filters), any strides
    epilogue, residual: see :mod:`minidl.kernels.cpu.epilogue`

    Rows of tiles are counted through all images: a *span* of them, (first, last + 1), is transformed at once.  Then
    come the filters, chunk by chunk: products, transform back, epilogue, while the chunk is in the cache.
    """

    def __init__(self, x, kernel, size, target, epilogue, residual=None):
        self.kernel, self.size, self.target = kernel, size, target
        self.epilogue, self.residual = epilogue, residual
        self.side, self.channels, self.at_once = size + 2, x.shape[3], kernel.shape[3]
        self.to_places, self.to_outputs = _squares(size, kernel.dtype)
        self.rows, self.columns = tile_counts(target.shape[1:3], size)
        image, row, column, channel = x.strides
        shape = (self.side, self.side, x.shape[0], self.rows, self.columns, self.channels)
        steps = (row, column, image, size * row, size * column, channel)
        self.tiles = np.lib.stride_tricks.as_strided(x, shape, steps, writeable=False)

    def by_rows(self, tiles_at_once):
        """Each thread goes all the way with its own spans, whose tiles stay in its cache.

        Every thread reads the whole kernel, once per span: good where maps are large and kernels small.
        """

        def part(spans):
            for span in spans:
                places = self._scratch("places", span, self.channels)
                self.transform(span, places)
                self.multiply(span, places, range(len(self.kernel)))

        run_parts(part, split_evenly(self._spans(tiles_at_once), self.tiles.size))

    def by_weights(self, tiles_at_once):
        """The threads share the filters, so that each number of the kernel is read by one of them only.

        Good where kernels are large and maps small.  All tiles of a span are transformed first.
        """
        for span in self._spans(tiles_at_once):
            places = self._scratch("places of all", span, self.channels)

            def transform(rows, first=span[0], places=places):
                tiles = slice((rows[0] - first) * self.columns, (rows[-1] + 1 - first) * self.columns)
                self.transform((rows[0], rows[-1] + 1), places[:, tiles])

            def multiply(chunks, span=span, places=places):
                self.multiply(span, places, chunks)

            run_parts(transform, split_evenly(range(*span), places.size))
            run_parts(multiply, split_evenly(range(len(self.kernel)), self.tiles.size))

    def transform(self, span, places):
        """B^T d B of all tiles of a span: fills ``places`` (side^2, tiles, channels)."""
        gathered = self._scratch("tiles", span, self.channels)
        by_tile = gathered.reshape(self.side, self.side, -1, self.columns, self.channels)
        for image, rows, at in self._pieces(span):
            by_tile[:, :, at] = self.tiles[:, :, image, rows]
        np.matmul(self.to_places, gathered.reshape(self.side**2, -1), out=places.reshape(self.side**2, -1))

    def multiply(self, span, places, chunks):
        """A^T (U * places) A for a range of chunks of filters, and the epilogue, into the target."""
        filters = slice(chunks[0] * self.at_once, min((chunks[-1] + 1) * self.at_once, self.target.shape[3]))
        count, depth = filters.stop - filters.start, len(chunks) * self.at_once
        products = self._scratch("products", span, depth)
        # One call for all products: between calls the threads would wait for one another's hold on Python's lock.
        by_chunk = products.reshape(*products.shape[:2], len(chunks), self.at_once).transpose(2, 0, 1, 3)
        np.matmul(places, self.kernel[chunks.start : chunks.stop], out=by_chunk)
        # A^T has only ones in the column of place (1, 1): what is added there is added to all outputs of a tile.
        products[self.side + 1, :, :count] += self.epilogue.bias[filters]
        outputs = scratch("outputs", self.size**2 * products.shape[1] * depth, products.dtype)
        outputs = outputs.reshape(self.size**2, -1)
        np.matmul(self.to_outputs, products.reshape(self.side**2, -1), out=outputs)
        activate(outputs, self.epilogue.slope)
        outputs = outputs.reshape(self.size, self.size, -1, self.columns, depth)[..., :count]
        for image, rows, at in self._pieces(span):
            self._store(outputs[:, :, at], image, rows, filters)

    def _store(self, outputs, image, rows, filters):
        """Outputs (m, m, tile rows, tile columns, filters) to their pixels: tile (r, c) begins at pixel (m r, m c)."""
        height, width = self.target.shape[1:3]
        for tile_rows, inner_rows in _whole_and_cut(rows, height, self.size):
            for tile_columns, inner_columns in _whole_and_cut(slice(0, self.columns), width, self.size):
                own = slice(tile_rows.start - rows.start, tile_rows.stop - rows.start)
                values = outputs[:inner_rows, :inner_columns, own, tile_columns]
                part = (
                    image,
                    _pixels(tile_rows, self.size, inner_rows),
                    _pixels(tile_columns, self.size, inner_columns),
                )
                target = _as_tiles(self.target[part][..., filters], inner_rows, inner_columns)
                residual = None
                if self.residual is not None:
                    residual = _as_tiles(self.residual[part][..., filters], inner_rows, inner_columns)
                add_and_store(values, target, self.epilogue, residual)

    def _spans(self, tiles_at_once):
        """Spans of about so many tiles that cover all images."""
        count = self.tiles.shape[2] * self.rows
        step = max(1, tiles_at_once // self.columns)
        return [(first, min(first + step, count)) for first in range(0, count, step)]

    def _pieces(self, span):
        """The span image by image: (image, its rows of tiles, their place within the span)."""
        first, end = span
        while first < end:
            image, row = divmod(first, self.rows)
            count = min(end - first, self.rows - row)
            at = first - span[0]
            yield image, slice(row, row + count), slice(at, at + count)
            first += count

    def _scratch(self, name, span, depth):
        """(side^2, tiles, depth), uninitialised."""
        count = (span[1] - span[0]) * self.columns
        return scratch(name, self.side**2 * count * depth, self.kernel.dtype).reshape(self.side**2, count, depth)


def _whole_and_cut(tiles, length, size):
    """Tiles along an axis as (slice of tiles, pixels of each): those within ``length``, and the one that is cut."""
    whole = min(tiles.stop, length // size)
    if tiles.start < whole:
        yield slice(tiles.start, whole), size
    if whole < tiles.stop:
        yield slice(max(whole, tiles.start), tiles.stop), length - (tiles.stop - 1) * size


def _pixels(tiles, size, inner):
    """The pixels of a slice of tiles; ``inner`` of a tile that is cut."""
    return slice(tiles.start * size, (tiles.stop - 1) * size + inner)


def _as_tiles(pixels, rows, columns):
    """(height, width, filters) as (rows, columns, tile rows, tile columns, filters), a view."""
    height, width, filters = pixels.shape
    return pixels.reshape(height // rows, rows, width // columns, columns, filters).transpose(1, 3, 0, 2, 4)
