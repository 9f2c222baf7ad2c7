"""Batch normalisation on NumPy arrays, with leaky ReLU in the same pass over memory.

    mean = sum(x) / N        variance = sum((x - mean)^2) / N          (per channel, over batch, height, width)
    y = leaky(gamma * (x - mean) / sqrt(variance + epsilon) + beta)

The arithmetic is nothing; reading and writing memory is all.  So each function goes over the array in
chunks small enough for the cache and does everything with a chunk while it is there.  The variance takes
a second pass: ``mean(x^2) - mean(x)^2`` would save it, and lose all digits where the mean is large.

Source: Ioffe and Szegedy 2015, Algorithm 1; spec 3.2; notes C1.
"""

from math import prod

import numpy as np

from minidl.collective import ALONE
from minidl.kernels.batchnorm_pool import pooled_statistics, pooled_sums
from minidl.kernels.cpu.activation import leaky_grad_into, leaky_in_place
from minidl.kernels.cpu.parallel import run_parts, scratch, split_evenly
from minidl.kernels.cpu.rows import chunks, sum_rows, wide_rows

MANY_NUMBERS = 1 << 19  # from so many per thread on, two threads are faster than one


class _WideView:
    """The arrays of one call as wide rows, the chunks to go over them, and what is repeated along them.

    Small arrays are one thread's: each step on a chunk takes some ten microseconds, and two Python threads would lose
    more than that in handing Python's lock to each other.
    """

    def __init__(self, shape):
        self.channels = shape[-1]
        self.count = prod(shape[:-1])  # N, the values per channel
        self.together = wide_rows(self.count, self.channels)
        self.chunks = chunks(self.count // self.together, self.together * self.channels)
        self.parts = split_evenly(self.chunks, self.count * self.channels, MANY_NUMBERS)

    def each(self, function):
        """Call ``function(chunk)`` for every chunk."""

        def part(own):
            for chunk in own:
                function(chunk)

        run_parts(part, self.parts)

    def total(self, function):
        """The sums of what ``function(chunk)`` returns for every chunk, a tuple of vectors, folded to channels."""

        def part(own):
            sums = [function(chunk) for chunk in own]
            return [sum(vectors) for vectors in zip(*sums, strict=True)]

        sums = zip(*run_parts(part, self.parts), strict=True)
        return tuple(self.fold(sum(vectors)) for vectors in sums)

    def rows(self, array):
        return np.ascontiguousarray(array).reshape(-1, self.together * self.channels)

    def repeat(self, vector, dtype):
        """A per-channel vector for every pixel of a wide row: (channels,) -> (together * channels,)."""
        wide = np.empty((self.together, self.channels), dtype)
        wide[...] = vector
        return wide.reshape(-1)

    def fold(self, wide_vector):
        """Add up the repetitions of each channel: (together * channels,) -> (channels,)."""
        return wide_vector.reshape(-1, self.channels).sum(axis=0)


def batchnorm_train(x, gamma, beta, rule, slope, group=ALONE):
    """Normalise by the batch's own statistics, then leaky ReLU of ``slope`` (1 leaves it out).

    x (..., channels); gamma, beta (channels,); group: the :class:`minidl.collective.Group` whose batch it is, of which
    each rank has a part x.  Returns ``y, mean, variance``, the variance with divisor N.
    """
    view = _WideView(x.shape)
    rows, y = view.rows(x), np.empty(x.shape, x.dtype)
    mean = view.total(lambda chunk: (sum_rows(rows[chunk]),))[0] / view.count
    wide_mean = view.repeat(mean, x.dtype)

    def squares(chunk):
        centred = _centred(rows[chunk], wide_mean)
        np.multiply(centred, centred, out=centred)
        return (sum_rows(centred),)

    variance = view.total(squares)[0] / view.count
    mean, variance = pooled_statistics(mean, variance, group)
    scale = gamma / rule.divisor(_batch_variance(variance, view.count * group.size, rule))
    _normalise(view, rows, mean, scale, beta, slope, y)
    return y, mean, variance


def batchnorm_eval(x, gamma, beta, mean, variance, rule, slope):
    """Normalise by given statistics (the running ones), then leaky ReLU of ``slope`` (1 leaves it out)."""
    view, y = _WideView(x.shape), np.empty(x.shape, x.dtype)
    _normalise(view, view.rows(x), mean, gamma / rule.divisor(variance), beta, slope, y)
    return y


def batchnorm_train_grad(grad, x, y, gamma, mean, variance, rule, slope, group=ALONE):
    """Gradients with respect to x, gamma and beta, where mean and variance depend on x too.

    With d the gradient behind the activation, c = x - mean and s = sqrt(variance + epsilon):

        dbeta = sum(d)    dgamma = sum(d * c) / divisor    dx = gamma / s * (d - mean(d) - c / s^2 * mean(d * c))

    The middle term of dx is what flows through the mean, the last what flows through the variance: both means are over
    the whole batch of the ``group``, while dgamma and dbeta are this rank's terms of sums over all ranks.
    """
    view = _WideView(x.shape)
    rows_x, rows_y, rows_grad = view.rows(x), view.rows(y), view.rows(grad)
    wide_mean = view.repeat(mean, x.dtype)
    dx = np.empty(rows_x.shape, x.dtype)

    def sums(chunk):
        leaky_grad_into(rows_grad[chunk], rows_y[chunk], slope, dx[chunk])  # d, kept for the second pass
        centred = _centred(rows_x[chunk], wide_mean)
        np.multiply(centred, dx[chunk], out=centred)
        return sum_rows(dx[chunk]), sum_rows(centred)

    sum_d, sum_dc = view.total(sums)
    all_d, all_dc = pooled_sums(sum_d, sum_dc, group)
    variance = _batch_variance(variance, view.count * group.size, rule)
    inner = variance + rule.backward_epsilon  # s^2
    scale = gamma / inner**0.5
    wide_scale = view.repeat(scale, x.dtype)
    slope_of_x = -scale * all_dc / (inner * view.count)
    wide_slope = view.repeat(slope_of_x, x.dtype)
    wide_shift = view.repeat(-scale * all_d / view.count - slope_of_x * mean, x.dtype)

    def combine(chunk):  # scale * d + slope * (x - mean) + shift
        scaled = scratch("scaled", rows_x[chunk].size, x.dtype).reshape(rows_x[chunk].shape)
        np.multiply(rows_x[chunk], wide_slope, out=scaled)
        np.add(scaled, wide_shift, out=scaled)
        np.multiply(dx[chunk], wide_scale, out=dx[chunk])
        np.add(dx[chunk], scaled, out=dx[chunk])

    view.each(combine)
    return dx.reshape(x.shape), sum_dc / rule.divisor(variance), sum_d


def batchnorm_eval_grad(grad, x, y, gamma, mean, variance, rule, slope):
    """Gradients with respect to x, gamma and beta, with fixed statistics: ``dx = d * gamma / divisor``."""
    view = _WideView(x.shape)
    rows_x, rows_y, rows_grad = view.rows(x), view.rows(y), view.rows(grad)
    divisor = rule.divisor(variance)
    wide_mean, wide_scale = view.repeat(mean, x.dtype), view.repeat(gamma / divisor, x.dtype)
    dx = np.empty(rows_x.shape, x.dtype)

    def sums(chunk):
        leaky_grad_into(rows_grad[chunk], rows_y[chunk], slope, dx[chunk])  # d
        centred = _centred(rows_x[chunk], wide_mean)
        np.multiply(centred, dx[chunk], out=centred)
        both = sum_rows(dx[chunk]), sum_rows(centred)
        np.multiply(dx[chunk], wide_scale, out=dx[chunk])
        return both

    sum_d, sum_dc = view.total(sums)
    return dx.reshape(x.shape), sum_dc / divisor, sum_d


def _batch_variance(variance, count, rule):
    """The variance a rule normalises a batch with: divisor N, or N - 1."""
    return variance * (count / max(1, count - 1)) if rule.unbiased else variance


def _normalise(view, rows, mean, scale, beta, slope, y):
    """``y = leaky((x - mean) * scale + beta) = leaky(x * scale + shift)``, a chunk at a time."""
    wide_scale, wide_shift = view.repeat(scale, y.dtype), view.repeat(beta - mean * scale, y.dtype)
    rows_y = view.rows(y)

    def normalise(chunk):
        out = rows_y[chunk]
        np.multiply(rows[chunk], wide_scale, out=out)
        np.add(out, wide_shift, out=out)
        if slope != 1:
            leaky_in_place(out, slope, out)

    view.each(normalise)


def _centred(rows, wide_mean):
    """``rows - mean``, in a buffer that the next call uses again."""
    centred = scratch("centred", rows.size, rows.dtype).reshape(rows.shape)
    return np.subtract(rows, wide_mean, out=centred)
