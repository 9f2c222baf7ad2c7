"""Arithmetic on rows of channels, fast also where the channels are few.

NumPy's loops run along the last axis.  With 8 channels a loop is over before it has begun, and adding
a per-channel vector to 73,728 rows takes four times as long as the memory needs.  Seen as *wide rows* of
many pixels side by side, the same array is added to the vector repeated as often.
"""

import numpy as np

WIDE = 512  # numbers in a wide row, about


def wide_rows(count, channels):
    """How many of ``count`` rows to lay side by side: a divisor of ``count``, about WIDE numbers wide."""
    together = 1
    while together * channels < WIDE and count % (2 * together) == 0:
        together *= 2
    return together


def chunks(count, channels, together, chunk_size=1 << 16):
    """Slices of the wide rows of about ``chunk_size`` numbers, so that several passes find them in the cache."""
    wide = count // together
    step = max(1, chunk_size // (together * channels))
    return [slice(start, min(start + step, wide)) for start in range(0, wide, step)]


def sum_rows(rows):
    """``sum over rows``: (count, channels) -> (channels,), as a product with ones, which BLAS adds up in lanes."""
    return np.ones(len(rows), rows.dtype) @ rows
