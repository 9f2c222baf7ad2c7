"""Batch normalisation on a GPU, with leaky ReLU in the same pass over memory.  Kernels: ``batchnorm.cu``.

Parameters and statistics are of the type that kernels compute in: float32 where x is float16.  Nothing waits for the
GPU: statistics stay there, and the numbers of the rule travel with the launch.

Source: Ioffe and Szegedy 2015, Algorithm 1; spec 3.2; notes C1.
"""

from dataclasses import dataclass

import numpy as np

from minidl.collective import ALONE
from minidl.device import array_module
from minidl.kernels.batchnorm_pool import pooled_statistics, pooled_sums
from minidl.kernels.cuda.launch import REAL, THREADS, Source
from minidl.kernels.cuda.packs import pack_width

SOURCE = Source("batchnorm.cu")
WARP = 32  # threads along the channels at most: wider blocks would move no more bytes at once
BLOCKS = 528  # of a pass, at most: 4 for each of an H100's 132 multiprocessors, all of which run at the same time
ROWS_PER_THREAD = 4  # at least: its loads are under way together
JOIN_BLOCK = 8, 64  # threads that join the parts: 8 neighbouring numbers are a sector of 32 bytes


@dataclass(frozen=True)
class _Passes:
    """How the passes over a map (rows, channels) are laid out: it follows from shape and addresses alone."""

    rows: int
    channels: int
    width: int  # of a pack

    @classmethod
    def over(cls, *maps):
        """maps: contiguous, all of one shape (..., channels)."""
        channels = maps[0].shape[-1]
        return cls(maps[0].size // channels, channels, pack_width([channels], *maps))

    @property
    def block(self):
        """Threads along the channels, a power of two, and down the rows."""
        packs = self.channels // self.width
        along = min(WARP, 1 << (packs - 1).bit_length())
        return along, THREADS // along

    @property
    def grid(self):
        """Blocks along the channels and parts of the rows."""
        along, down = self.block
        columns = -(-self.channels // (along * self.width))
        return columns, max(1, min(-(-self.rows // (down * ROWS_PER_THREAD)), BLOCKS // columns))

    def launch(self, kernel, *arguments):
        SOURCE.launch(kernel, self.grid, self.block, *arguments, self.rows, self.channels, self.width)

    def join(self, kernel, *arguments):
        """Launch a kernel that brings together what the parts have found."""
        parts = self.grid[1]
        SOURCE.launch(kernel, -(-self.channels // JOIN_BLOCK[0]), JOIN_BLOCK, *arguments, parts, self.channels)

    def parts(self, xp, values, dtype):
        """Memory for so many ``values`` of every channel of every part."""
        return xp.empty((values, self.grid[1], self.channels), REAL[dtype.name])


def batchnorm_train(x, gamma, beta, rule, slope, group=ALONE):
    """Normalise by the batch's own statistics, then leaky ReLU of ``slope`` (1 leaves it out).

    x (..., channels); gamma, beta (channels,); group: the :class:`minidl.collective.Group` whose batch it is, of which
    each rank has a part x.  Returns ``y, mean, variance``, the variance with divisor N.
    Raises ValueError where x holds no values, which have no mean.
    """
    if x.size == 0:
        raise ValueError(f"batch norm: no mean and variance of a batch without values, shape {x.shape}")
    xp = array_module(x)
    x, gamma, beta = _contiguous(x, gamma, beta)
    passes = _Passes.over(x)
    parts = passes.parts(xp, 3, x.dtype)
    passes.launch("batchnorm_moments", x, parts)
    mean, variance = (xp.empty(passes.channels, parts.dtype) for _ in range(2))
    passes.join("batchnorm_join_moments", parts, mean, variance)
    mean, variance = pooled_statistics(mean, variance, group)
    y = xp.empty(x.shape, x.dtype)
    numbers = _numbers(rule, x, passes.rows * group.size)
    passes.launch("batchnorm_normalise", x, y, gamma, beta, mean, variance, numbers, slope)
    return y, mean, variance


def batchnorm_eval(x, gamma, beta, mean, variance, rule, slope):
    """Normalise by given statistics (the running ones), then leaky ReLU of ``slope`` (1 leaves it out)."""
    x, gamma, beta, mean, variance = _contiguous(x, gamma, beta, mean, variance)
    y = array_module(x).empty(x.shape, x.dtype)
    if x.size:
        numbers = _numbers(rule, x)
        _Passes.over(x).launch("batchnorm_normalise", x, y, gamma, beta, mean, variance, numbers, slope)
    return y


def batchnorm_train_grad(grad, x, y, gamma, mean, variance, rule, slope, group=ALONE):
    """Gradients with respect to x, gamma and beta, where mean and variance depend on x too.

    With d the gradient behind the activation, c = x - mean and s = sqrt(variance + epsilon):

        dbeta = sum(d)    dgamma = sum(d * c) / divisor    dx = gamma / s * (d - mean(d) - c / s^2 * mean(d * c))

    Both means are over the whole batch of the ``group``, while dgamma and dbeta are this rank's terms of sums over all
    ranks.
    """
    numbers = _numbers(rule, x, count=x.size // x.shape[-1] * group.size)
    return _gradients(grad, x, y, gamma, mean, variance, numbers, True, slope, group)


def batchnorm_eval_grad(grad, x, y, gamma, mean, variance, rule, slope):
    """Gradients with respect to x, gamma and beta, with fixed statistics: ``dx = d * gamma / divisor``."""
    return _gradients(grad, x, y, gamma, mean, variance, _numbers(rule, x), False, slope, ALONE)


def _gradients(grad, x, y, gamma, mean, variance, numbers, training, slope, group):
    xp = array_module(x)
    grad, x, y, gamma, mean, variance = _contiguous(grad, x, y, gamma, mean, variance)
    dx = xp.empty(x.shape, x.dtype)
    if x.size == 0:
        return dx, xp.zeros(gamma.shape, gamma.dtype), xp.zeros(gamma.shape, gamma.dtype)
    passes = _Passes.over(grad, x, y)
    parts = passes.parts(xp, 2, x.dtype)
    passes.launch("batchnorm_gradient_sums", grad, x, y, mean, parts, slope)
    dgamma, dbeta = (xp.empty(gamma.shape, parts.dtype) for _ in range(2))
    passes.join("batchnorm_parameter_grads", parts, variance, dgamma, dbeta, numbers)
    # Both are proportional to the sums that dx needs of the whole batch: divided by the ranks, for N is this rank's.
    all_dbeta, all_dgamma = pooled_sums(dbeta, dgamma, group)
    passes.launch(
        *("batchnorm_input_grad", grad, x, y, dx, gamma, mean, variance),
        *(all_dgamma, all_dbeta, numbers, training, slope),
    )
    return dx, dgamma, dbeta


def _contiguous(*arrays):
    return [array_module(each).ascontiguousarray(each) for each in arrays]


def _numbers(rule, x, count=None):
    """The struct ``Rule`` of the kernels; count: the values per channel of a batch that is normalised by its own."""
    real = REAL[x.dtype.name]
    names = ("epsilon", "backward_epsilon", "variance_factor")
    struct = np.dtype([*((name, real) for name in names), ("epsilon_outside_root", np.int32)], align=True)
    factor = count / max(1, count - 1) if rule.unbiased and count else 1
    return np.array((rule.epsilon, rule.backward_epsilon, factor, rule.epsilon_outside_root), struct)
