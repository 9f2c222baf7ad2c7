"""Sums on a GPU, the same in every run.  Kernels: ``reduce.cu``."""

from minidl.device import array_module
from minidl.kernels.cuda.launch import REAL, THREADS, Source, blocks_for

SOURCE = Source("reduce.cu")
MOST_PARTS = 1024  # blocks that sum at the same time: a large GPU has place for about so many
ROWS_PER_PART = 256  # in sum_rows, at least: 32 for each of its threads


def sum_all(x):
    """The sum of all numbers, in the type that kernels compute in (float32 for float16): an array without axes."""
    xp = array_module(x)
    x = xp.ascontiguousarray(x)
    parts = xp.empty(part_count(x.size), REAL[x.dtype.name])
    SOURCE.launch("sum_numbers", parts.size, THREADS, x, parts, x.size)
    return add_parts(parts)


def part_count(count):
    """How many blocks shall sum ``count`` numbers: it follows from the count alone, so that sums repeat exactly."""
    return min(max(1, blocks_for(count)), MOST_PARTS)


def add_parts(parts):
    """The sum of the blocks' sums, as an array without axes."""
    if parts.size == 1:
        return parts.reshape(())
    total = array_module(parts).empty((), parts.dtype)
    SOURCE.launch("sum_numbers", 1, THREADS, parts, total, parts.size)
    return total


def sum_rows(rows):
    """The sum over the rows: (count, channels) -> (channels,), in the type that kernels compute in."""
    xp = array_module(rows)
    rows = xp.ascontiguousarray(rows)
    count, channels = rows.shape
    per_part = max(ROWS_PER_PART, blocks_for(count, MOST_PARTS))
    parts = xp.empty((max(1, blocks_for(count, per_part)), channels), REAL[rows.dtype.name])
    SOURCE.launch("sum_rows", (blocks_for(channels, 32), len(parts)), (32, 8), rows, parts, count, channels, per_part)
    return parts.reshape(channels) if len(parts) == 1 else sum_rows(parts)
