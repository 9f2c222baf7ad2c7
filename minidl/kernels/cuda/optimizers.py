"""Steps of the optimisers and of averages, and undoing the scale of a loss, on a GPU.

They change the arrays they are given.  Kernels: ``optimizers.cu``, one launch per parameter.
"""

import numpy as np

from minidl.device import array_module
from minidl.kernels.cuda.launch import THREADS, Source, blocks_for

SOURCE = Source("optimizers.cu")
ADAM_FIELDS = ("rate", "keep_mean", "share_mean", "keep_square", "share_square", "correction", "epsilon", "decay")


def sgd_update(weight, grad, velocity, rate, momentum, decay):
    """``velocity <- momentum velocity + grad + decay weight;  weight <- weight - rate velocity``, in place."""
    grad = array_module(grad).ascontiguousarray(grad)
    arguments = weight, grad, velocity, rate, momentum, decay, weight.size
    SOURCE.launch("sgd_update", blocks_for(weight.size), THREADS, *arguments)


def adam_update(weight, grad, mean, square, rate, betas, epsilon, decay, step):
    """One step of Adam in place; ``step`` counts from 1.  The formula: :class:`minidl.optim.Adam`."""
    beta1, beta2 = betas
    numbers = rate / (1 - beta1**step), beta1, 1 - beta1, beta2, 1 - beta2, 1 - beta2**step, epsilon, decay
    adam = np.array(numbers, [(name, weight.dtype) for name in ADAM_FIELDS])
    grad = array_module(grad).ascontiguousarray(grad)
    SOURCE.launch("adam_update", blocks_for(weight.size), THREADS, weight, grad, mean, square, adam, weight.size)


def move_towards(average, value, share):
    """``average <- average + share (value - average)``, in place."""
    SOURCE.launch("move_towards", blocks_for(value.size), THREADS, average, value, share, value.size)


def unscale(grads, factor):
    """Multiply gradients by ``factor`` in place.  Returns whether a number became infinite or NaN.

    grads: contiguous arrays.  The answer is an int32 array of one number, 0 or 1, left on the GPU.
    """
    overflow = array_module(grads[0]).zeros(1, np.int32)
    for grad in grads:
        SOURCE.launch("unscale", blocks_for(grad.size), THREADS, grad, factor, overflow, grad.size)
    return overflow
