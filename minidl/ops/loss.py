"""Losses.  Each returns the *sum* over all entries; divide by the batch, or by what else the mean is over.

Losses take logits, not probabilities: ``log(sigmoid(x))`` taken apart stays finite where ``sigmoid(x)`` has
become 0 or 1 (logits of +-1000 are fine), and its gradient is the plain difference ``p - target``.
"""

from minidl.device import array_module
from minidl.ops.activation import stable_sigmoid
from minidl.tensor import Tensor


def bce_with_logits(logits, targets, weights=None):
    """Binary cross-entropy ``-sum w [t log p + (1 - t) log(1 - p)]`` with ``p = sigmoid(logit)`` (notes H2).

    Parameters
    ----------
    logits: Tensor of any shape
    targets: array of the same shape, in [0, 1]; fractions ("soft targets") are allowed
    weights: array that broadcasts to that shape, or None for 1

    In logits x the term is ``max(x, 0) - x t + log(1 + e^-|x|)``, and its derivative ``p - t``.
    """
    x, xp = logits.data, array_module(logits.data)
    terms = xp.maximum(x, 0) - x * targets + xp.log1p(xp.exp(-xp.abs(x)))
    weights = 1 if weights is None else weights

    def backward(grad):
        return (grad * weights * (stable_sigmoid(x) - targets),)

    return Tensor.from_operation(_total(weights * terms), (logits,), backward, "bce_with_logits")


def cross_entropy(logits, labels):
    """``-sum log softmax(logits)[label]``: for classes that exclude one another (notes H1).

    logits: Tensor (count, classes); labels: whole numbers (count,).  Derivative: ``softmax - one_hot``.
    Raises ValueError for a label outside 0 ... classes - 1.
    """
    x, xp = logits.data, array_module(logits.data)
    if labels.size and (labels.min() < 0 or labels.max() >= x.shape[1]):
        raise ValueError(
            f"cross_entropy: labels must lie in 0...{x.shape[1] - 1}, found {labels.min()}...{labels.max()}"
        )
    shifted = x - x.max(axis=1, keepdims=True)
    log_probabilities = shifted - xp.log(xp.exp(shifted).sum(axis=1, keepdims=True))
    rows = xp.arange(len(labels))

    def backward(grad):
        difference = xp.exp(log_probabilities)
        difference[rows, labels] -= 1
        return (grad * difference,)

    return Tensor.from_operation(_total(-log_probabilities[rows, labels]), (logits,), backward, "cross_entropy")


def squared_error(prediction, targets, weights=None):
    """``sum w (prediction - target)^2 / 2``; the half makes the derivative the plain difference."""
    difference = prediction.data - targets
    weights = 1 if weights is None else weights

    def backward(grad):
        return (grad * weights * difference,)

    return Tensor.from_operation(_total(weights * difference**2) / 2, (prediction,), backward, "squared_error")


def _total(terms):
    """The sum as an array without axes, in the dtype of the terms."""
    return terms.sum(keepdims=True).reshape(())
