"""Steps of the optimisers and of averages, and undoing the scale of a loss, on NumPy arrays.

They change the arrays they are given.
"""

import numpy as np


def sgd_update(weight, grad, velocity, rate, momentum, decay):
    """``velocity <- momentum velocity + grad + decay weight;  weight <- weight - rate velocity``, in place."""
    velocity *= momentum
    velocity += grad
    if decay:
        velocity += decay * weight
    weight -= rate * velocity


def adam_update(weight, grad, mean, square, rate, betas, epsilon, decay, step):
    """One step of Adam in place; ``step`` counts from 1.  The formula: :class:`minidl.optim.Adam`."""
    beta1, beta2 = betas
    if decay:
        grad = grad + decay * weight
    mean *= beta1
    mean += (1 - beta1) * grad
    square *= beta2
    square += (1 - beta2) * grad * grad
    size = np.sqrt(square / (1 - beta2**step))
    size += epsilon
    weight -= rate / (1 - beta1**step) * mean / size


def move_towards(average, value, share):
    """``average <- average + share (value - average)``, in place."""
    average += share * (value - average)


def unscale(grads, factor):
    """Multiply gradients by ``factor`` in place.  Returns whether a number became infinite or NaN.

    The answer is an int32 array of one number, 0 or 1.
    """
    for grad in grads:
        grad *= factor
    return np.array([not all(np.isfinite(grad).all() for grad in grads)], np.int32)
