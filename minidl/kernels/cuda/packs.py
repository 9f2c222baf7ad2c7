"""Launching kernels in which every thread has a pack of numbers: ``packs.cuh``."""

import math

from minidl.kernels.cuda.launch import THREADS, blocks_for

LARGEST_LOAD = 16  # bytes that one instruction moves for a thread


def pack_width(counts, *arrays):
    """How many numbers a thread moves at once: 4 where they never straddle the end of a run, else 1.

    counts: lengths of runs of numbers and distances between them, all of which must divide by 4.  The address of each
    array must divide by the pack's bytes (16 at most); that of an array of its own does, that of a slice may not.
    """

    fits = all(each.data.ptr % min(LARGEST_LOAD, 4 * each.dtype.itemsize) == 0 for each in arrays)
    return 4 if math.gcd(4, *counts) == 4 and fits else 1


def launch_packs(source, kernel, count, *arguments, width):
    """Launch a kernel with a thread for each pack of ``width`` of ``count`` numbers; nothing for no numbers.

    The kernel's last two parameters are the number of packs and their width.
    """
    packs = count // width
    if packs:
        source.launch(kernel, blocks_for(packs), THREADS, *arguments, packs, width)
