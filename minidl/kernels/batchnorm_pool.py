"""Batch norm over a batch that lies in several processes: what they tell each other, on every device.

Each process has as many values per channel as every other.  So the mean of the whole batch is the mean of their means,
and all they exchange is two numbers per channel, once forwards and once backwards.
"""

import numpy as np

from minidl.device import array_module


def pooled_statistics(mean, variance, group):
    """Mean and variance of the whole batch from those of each part: arrays (channels,), the variance with divisor N.

    ``mean = mean of means;  variance = mean of (variance + mean^2) - mean^2``.

    The last difference loses digits where the mean is large, so it is made in float64, with 2^-53 as relative error:
    then what is lost stays below what the values themselves have lost when they were rounded to float32.
    """
    if group.size == 1:
        return mean, variance
    xp, channels = array_module(mean), len(mean)
    wide_mean, wide_variance = mean.astype(np.float64), variance.astype(np.float64)
    both = group.mean(xp.concatenate([wide_mean, wide_variance + wide_mean * wide_mean]))  # (2 * channels,)
    wide_mean, wide_square = both[:channels], both[channels:]
    wide_variance = xp.maximum(wide_square - wide_mean * wide_mean, 0)
    return wide_mean.astype(mean.dtype), wide_variance.astype(variance.dtype)


def pooled_sums(sum_d, sum_dc, group):
    """The backward pass's two sums over the whole batch, *divided by the number of processes*; arrays (channels,).

    So they can take the place of a process's own sums wherever these are then divided by its own N.
    """
    if group.size == 1:
        return sum_d, sum_dc
    both = group.mean(array_module(sum_d).concatenate([sum_d, sum_dc]))
    return both[: len(sum_d)], both[len(sum_d) :]
