"""Arithmetic on rows of channels, fast also where the channels are few.

NumPy's loops run along the last axis.  With 8 channels a loop is over before it has begun, and adding
a per-channel vector to 73,728 rows takes four times as long as the memory needs.  Seen as *wide rows* of
many pixels side by side, the same array is added to the vector repeated as often.
"""

import numpy as np

WIDE = 512  # numbers in a wide row, about
CHUNK = 1 << 18  # numbers in a chunk, about: 1 MiB of float32


def wide_rows(count, channels):
    """How many of ``count`` rows to lay side by side: a divisor of ``count``, about WIDE numbers wide."""
    together = 1
    while together * channels < WIDE and count % (2 * together) == 0:
        together *= 2
    return together


def chunks(rows, width=1):
    """Slices of ``rows`` rows of so many numbers, about CHUNK in each: several passes find them in the cache."""
    step = max(1, CHUNK // width)
    return [slice(start, min(start + step, rows)) for start in range(0, rows, step)]


def sum_rows(rows):
    """``sum over rows``: (count, channels) -> (channels,), as a product with ones, which BLAS adds up in lanes."""
    return np.ones(len(rows), rows.dtype) @ rows
