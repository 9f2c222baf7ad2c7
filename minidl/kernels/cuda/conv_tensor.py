"""Convolution on a GPU with tensor cores: TF32 for float32 maps, half precision for float16 ones, sums in float32.

Kernels: ``conv_tensor.cu``.  The interface: conv.py.  Source: PTX ISA, "Warp Level Matrix Multiply-Accumulate
Instructions" and "Asynchronous Copy"; compute capability 8.0 and later.

Both factors of every product are rounded to nearest, to 11 significant bits in TF32 and float16 alike: each by at most
2**-11 of itself (in float16 as long as it is in range).  A sum of products a * b is then off by at most 2**-10 of
``sum(|a * b|)``.  The errors have random signs and add up to about 0.0003 of ``sqrt(sum((a * b)**2))``, which is what
the sum itself amounts to where the signs of its terms are random: a relative error of 0.0003, for any number of terms.
Sums are float32, so their own rounding is far smaller.
"""

import math

from minidl.kernels.cuda.conv_products import Products
from minidl.kernels.cuda.conv_shape import pixel_distance
from minidl.kernels.cuda.launch import Source, blocks_for

SOURCE = Source("conv_tensor.cu")
TILES = (128, 128), (128, 64), (64, 64)
THREADS = 128
STAGES = 3
LINE_BYTES = 128  # of a stage in shared memory, per row and per column of the tile
CHUNK_BYTES = 16  # that one instruction copies
MOST_TAPS = 31  # kernels keep a bit for each
MOST_NUMBERS = 2**31  # of a map: kernels count them in int


def fits(weight_shape, *maps):
    """Whether these kernels can take a convolution: its size and what it reads and writes in chunks of 16 bytes.

    maps: x, y, their gradients, the residual (arrays or slices of channels), and the weight: float32 or float16, each
    beginning at a multiple of 16 bytes, with channels, and a distance of pixels, that are multiples of 4 or 8.  The
    kernel has at most 31 taps, and no map more than 2**31 numbers.
    """
    return weight_shape[0] * weight_shape[1] <= MOST_TAPS and all(map(_in_chunks, maps))


def _in_chunks(array):
    distance = pixel_distance(array)
    numbers = math.prod(array.shape[:3]) * distance
    places = array.shape[3] * array.dtype.itemsize, distance * array.dtype.itemsize, array.data.ptr
    return (
        array.dtype in ("float32", "float16")
        and numbers < MOST_NUMBERS
        and all(place % CHUNK_BYTES == 0 for place in places)
    )


def _launch(product, plan, size, *arguments):
    """size: (rows, columns, blocks in the third direction) of the product."""
    rows, columns = plan.tile  # one of TILES
    grid = blocks_for(size[0], rows), blocks_for(size[1], columns), size[2]
    shared_bytes = STAGES * LINE_BYTES * (rows + columns)
    SOURCE.launch(f"conv_tensor_{product}_{rows}x{columns}", grid, THREADS, *arguments, shared_bytes=shared_bytes)


_products = Products(_launch)
forward, grad_input, grad_weight = _products.forward, _products.grad_input, _products.grad_weight
