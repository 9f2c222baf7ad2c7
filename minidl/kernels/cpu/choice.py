"""Which way each convolution goes: decided by shapes and settings alone, so that a run repeats bit for bit.

The ways differ in how many multiplications they make, how often weights come from main memory, and how many numbers
are moved.  The cost of a way is estimated in operations of the matrix product:

    products + transforms + numbers moved * MOVE_COST + numbers of the weights * WEIGHT_COST

Weights are dear because those of a whole network never fit into the caches: they arrive at some 20 GB/s while the cores
could make some 400 billion operations per second.  The constants were measured once (tests/benchmarks/layers.py shows
how well they choose) and are the same on every machine.
"""

from dataclasses import dataclass

from minidl.kernels.cpu.parallel import get_num_threads
from minidl.kernels.cpu.winograd import tile_counts

WEIGHT_COST = 64
MOVE_COST = 20
TILES_LOST = 6  # a matrix product of few rows is slow, as if it had so many more

# OpenBLAS multiplies matrices with at most so many products (rows x inner x columns) as they lie in memory; larger ones
# it copies first, which takes as long as the product itself where the rows are few.
SMALL_PRODUCT = 1_000_000
FILTERS_AT_ONCE = (64, 32)  # of which the first that makes a small product is taken

TILE_NUMBERS = 1_250_000  # of transformed tiles and products at once in one thread
SHARED_TILES = 61  # at once where threads share the kernels: products of 256 channels are then still small
FEW_NUMBERS = 1 << 21  # a window matrix of up to so many numbers is shared by all threads ...
MANY_WEIGHTS = 1 << 15  # ... where the weights are at least so many
MANY_KERNELS = 1 << 17  # pairs of channels from which on threads share transformed kernels and not tiles
WINDOW_BLOCK = 1 << 18  # numbers of a block of the window matrix for one thread: 1 MiB
POINTWISE_BLOCK = 1 << 19
SHARED_BLOCK = 1 << 22


@dataclass(frozen=True)
class FuseSettings:
    """What :func:`minidl.inference.fuse` may do; each can be switched off, to see what it brings.

    winograd: sizes of Winograd tiles to choose from; () for none, which also saves the memory of the
        transformed weights (up to four times that of the 3x3 weights)
    share_weights: threads share the weights of a layer, where those are many, in place of the map
    keep_borders: a map that only convolutions with padding read is kept with zeros around it
    join_in_place: maps that are concatenated are written side by side at once

    Raises ValueError for other sizes of tiles than 2 and 4.
    """

    winograd: tuple = (2, 4)
    share_weights: bool = True
    keep_borders: bool = True
    join_in_place: bool = True

    def __post_init__(self):
        if not set(self.winograd) <= {2, 4}:
            raise ValueError(f"winograd: the sizes of tiles must be 2 or 4, or () for none, not {self.winograd}")


@dataclass(frozen=True)
class Way:
    """How a convolution goes.

    tile: of Winograd's way, None for the window matrix; shared: whether threads share weights and not the map;
    at_once: tiles, or numbers of the window matrix; filters_at_once: of a matrix product in Winograd's way.
    """

    tile: int | None
    shared: bool
    at_once: int
    filters_at_once: int | None = None


def choose(weight_shape, stride, padding, output_shape, settings):
    """The :class:`Way` of a convolution: weights (height, width, in, out), output (batch, height, width, out)."""
    size, _, channels, filters = weight_shape
    batch, height, width, _ = output_shape
    weights = size * size * channels * filters
    costs = {None: 2 * batch * height * width * weights + WEIGHT_COST * weights}
    if (size, stride, padding) == (3, 1, 1):
        costs |= {tile: _winograd_cost(tile, channels, filters, output_shape) for tile in settings.winograd}
    tile = min(costs, key=costs.get)
    if tile is None:
        return _window_way(size, batch * height * width * size * size * channels, weights, settings)
    return _winograd_way(tile, channels, filters, output_shape, settings)


def _winograd_cost(tile, channels, filters, output_shape):
    rows, columns = tile_counts(output_shape[1:3], tile)
    tiles, places = output_shape[0] * rows * columns, (tile + 2) ** 2
    products = 2 * places * (tiles + TILES_LOST) * channels * filters
    transforms = 2 * tiles * places * (places * channels + tile * tile * filters)
    moves = tiles * (places * channels + tile * tile * filters)
    return products + transforms + MOVE_COST * moves + WEIGHT_COST * places * channels * filters


def _winograd_way(tile, channels, filters, output_shape, settings):
    tile_rows, columns = tile_counts(output_shape[1:3], tile)
    rows = output_shape[0] * tile_rows  # of tiles, through all images
    shared = settings.share_weights and channels * filters >= MANY_KERNELS
    most = SHARED_TILES if shared else TILE_NUMBERS // ((tile + 2) ** 2 * (channels + filters))
    most = max(1, min(most, SMALL_PRODUCT // (channels * FILTERS_AT_ONCE[-1])))
    # So many spans that every thread gets as many as the others.
    threads = 1 if shared else get_num_threads()
    spans = threads * max(1, -(-rows * columns // (threads * most)))
    at_once = max(1, -(-rows // spans)) * columns
    fitting = [count for count in FILTERS_AT_ONCE if at_once * channels * count <= SMALL_PRODUCT]
    return Way(tile, shared, at_once, min(filters, (fitting or FILTERS_AT_ONCE)[0]))


def _window_way(size, matrix_numbers, weights, settings):
    if settings.share_weights and matrix_numbers <= FEW_NUMBERS and weights >= MANY_WEIGHTS:
        return Way(None, True, SHARED_BLOCK)
    return Way(None, False, WINDOW_BLOCK if size > 1 else POINTWISE_BLOCK)
