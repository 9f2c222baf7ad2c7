"""Batch normalisation.  Kernels: ``batchnorm_train``, ``batchnorm_eval`` and their gradients."""

from functools import partial

from minidl.collective import current_group
from minidl.device import kernels_for
from minidl.kernels.batchnorm_rules import STANDARD
from minidl.ops.activation import check_slope
from minidl.ops.devices import beside, check_devices
from minidl.tensor import Tensor


def batchnorm(x, gamma, beta, mean=None, variance=None, rule=STANDARD, slope=1.0):
    """``leaky(gamma * (x - mean) / sqrt(variance + epsilon) + beta)`` per channel.

    Parameters
    ----------
    x: (..., channels); gamma (scale), beta (shift): (channels,)
    mean, variance: arrays (channels,) to normalise by, as in evaluation; None takes those of ``x`` itself,
        over all axes but the last, as in training, and lets gradients flow through them.
    rule: where epsilon stands (:mod:`minidl.kernels.batchnorm_rules`); default ``sqrt(variance + 1e-5)``.
    slope: of a leaky ReLU applied to the result in the same pass; 1 applies none.

    Returns ``(y, mean, variance)`` with the statistics used; a batch's variance is divided by N.

    Where several processes share a batch (:func:`minidl.collective.together`) its statistics are those of the whole
    batch, and the gradient of x is that of the sum of all ranks' losses; those of gamma and beta, as of all other
    parameters, are this rank's terms of it.

    Saved for backward: x and y, both alive anyway as the neighbours' outputs.  Notes C1; spec 3.2.
    """
    check_devices("batchnorm", x, gamma, beta)
    check_slope(slope, "batchnorm")
    kernels, group = kernels_for(x.data), current_group()
    if mean is None:
        y, mean, variance = kernels.batchnorm_train(x.data, gamma.data, beta.data, rule, slope, group)
        gradient = partial(kernels.batchnorm_train_grad, group=group)
    else:
        mean, variance = (beside(each, x.data, "batchnorm", each.dtype) for each in (mean, variance))
        y = kernels.batchnorm_eval(x.data, gamma.data, beta.data, mean, variance, rule, slope)
        gradient = kernels.batchnorm_eval_grad

    def backward(grad):
        return gradient(grad, x.data, y, gamma.data, mean, variance, rule, slope)

    return Tensor.from_operation(y, (x, gamma, beta), backward, "batchnorm"), mean, variance
