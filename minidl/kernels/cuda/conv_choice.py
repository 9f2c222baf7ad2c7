"""Which way each convolution goes on a GPU, with which tile, in how many parts: decided by shape and setting alone.

Each of the three functions of a convolution is a product of two matrices (rows x terms) @ (terms x columns):

                        rows                   terms                              columns
    forward             pixels of y            kernel cells * in_channels         out_channels
    gradient of input   pixels of dx           kernel cells * out_channels        in_channels    (one phase of it)
    gradient of weight  cells * in_channels    pixels of y                        out_channels

A block of threads computes one tile of the results, and the blocks are dealt out to the multiprocessors.  Large tiles
need fewer numbers from memory per multiplication; but a small map has few of them: a 13x13 map of 512 channels is 2 x 4
tiles of 128x128, which leaves 124 of an H100's 132 multiprocessors idle.  Smaller tiles make more blocks, at a lower
rate, and splitting the sum into parts makes more still, at the price of writing partial sums and adding them up.  So
the time that the busiest multiprocessor needs is estimated, in multiply-adds of a single one at full rate in float32:

    blocks per multiprocessor * tile rows * tile columns * (terms / parts + START) / rate
    + (parts * rows * columns * MOVE / multiprocessors + FINISH, where there are parts to be added)

and the tile and parts with the smallest estimate are taken.  A multiprocessor with few warps waits for memory: below
FULL_WARPS its rate falls in proportion.  The constants are estimates for one H100 and the same everywhere, so that
equal shapes go the same way, and give the same bits, on every GPU of a compute capability.
"""

import math
from dataclasses import dataclass
from functools import cache

MULTIPROCESSORS = 132
FULL_WARPS = 8  # two for each of the four schedulers of a multiprocessor
START = 32  # what a block does before and after its sum takes as long as so many terms
MOVE = 64  # multiply-adds in the time in which a multiprocessor's share of memory moves a partial sum there and back
FINISH = 400_000  # and in the time of launching one more kernel
FEWEST_TERMS = 64  # in a part
MOST_PARTS = 512
TENSOR_CORES = 80  # compute capability 8.0


@dataclass(frozen=True)
class Plan:
    """way: ``"plain"``, ``"blocked"`` or ``"tensor"``; tile: (rows, columns) of the product that one block computes;
    parts: into how many sums the inner dimension is split (1: none; always 1 for the gradient of the input).
    """

    way: str
    tile: tuple
    parts: int = 1


@dataclass(frozen=True)
class Product:
    """The sizes of a product.

    count: how many of that size there are side by side; splitting: the ways that can split its sum.
    """

    rows: int
    columns: int
    terms: int
    splitting: tuple
    count: int = 1


@dataclass(frozen=True)
class Tile:
    """rate: multiply-adds of a busy multiprocessor, as a share of its peak in float32."""

    way: str
    rows: int
    columns: int
    warps: int
    rate: float


TILES = (
    Tile("plain", 16, 16, 8, 0.12),
    Tile("blocked", 128, 128, 8, 0.75),
    Tile("blocked", 64, 64, 4, 0.6),
    Tile("tensor", 128, 128, 4, 4.0),
    Tile("tensor", 128, 64, 4, 3.2),
    Tile("tensor", 64, 64, 4, 2.5),
)


def forward_product(weight_shape, y_shape):
    """The :class:`Product` of the forward pass; the plain way keeps to the lesson and does not split its sum."""
    batch, height, width, channels = y_shape
    return Product(batch * height * width, channels, math.prod(weight_shape[:3]), ("blocked", "tensor"))


def grad_input_product(weight_shape, x_shape, stride):
    """The :class:`Product` of the gradient of the input: of an average phase, and as many as there are phases."""
    batch, height, width, channels = x_shape
    rows = batch * -(-height // stride[0]) * -(-width // stride[1])
    phases = stride[0] * stride[1]
    return Product(rows, channels, -(-weight_shape[0] * weight_shape[1] * weight_shape[3] // phases), (), phases)


def grad_weight_product(weight_shape, y_shape):
    """The :class:`Product` of the gradient of the weight."""
    pixels = math.prod(y_shape[:3])
    return Product(math.prod(weight_shape[:3]), weight_shape[3], pixels, ("plain", "blocked", "tensor"))


def partial_sums(product, plan):
    """How many numbers the workspace holds: the results of each part; 0 where the sum is not split."""
    return plan.parts * product.rows * product.columns if plan.parts > 1 else 0


@cache
def choose(product, convolution, tensor):
    """The :class:`Plan` for a :class:`Product`.

    convolution: of :class:`minidl.kernels.cuda.settings.CudaSettings`.  With ``auto`` all ways are compared; with the
        name of one, its tiles only.
    tensor: whether tensor cores can take this product: type, compute capability and channels (conv.py).  Where they
        cannot, ``auto`` and ``tensor`` choose among the other ways.
    """
    if convolution == "tensor" and not tensor:
        convolution = "auto"
    ways = {"plain", "blocked"} | ({"tensor"} if tensor else set()) if convolution == "auto" else {convolution}
    candidates = [(tile, parts) for tile in TILES if tile.way in ways for parts in possible_parts(product, tile.way)]
    tile, parts = min(candidates, key=lambda candidate: estimated_time(product, *candidate))
    return Plan(tile.way, (tile.rows, tile.columns), parts)


def possible_parts(product, way):
    """Into how many parts the sums of a product may be split by a way: 1 and, where it can, rounded larger numbers."""
    most = min(MOST_PARTS, product.terms // FEWEST_TERMS) if way in product.splitting else 1
    return [1, *(parts for parts in _round_numbers(MOST_PARTS) if parts <= most)]


def _round_numbers(most):
    """2, 3, 4, 6, 8, 12, ...: finer steps gain little."""
    powers = [1 << exponent for exponent in range(most.bit_length())]
    return sorted(number for power in powers for number in (2 * power, 3 * power) if number <= most)


def estimated_time(product, tile, parts):
    """The estimate of the module's docstring."""
    blocks = product.count * parts * -(-product.rows // tile.rows) * -(-product.columns // tile.columns)
    each = -(-blocks // MULTIPROCESSORS)
    rate = tile.rate * min(1, each * tile.warps / FULL_WARPS)
    time = each * tile.rows * tile.columns * (product.terms / parts + START) / rate
    if parts > 1:
        time += parts * product.rows * product.columns * MOVE / MULTIPROCESSORS + FINISH
    return time
