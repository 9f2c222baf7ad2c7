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
    targets: array that broadcasts to that shape, in [0, 1]; fractions ("soft targets") are allowed
    weights: likewise, or None for 1

    Raises ValueError where targets or weights do not fit the logits.

    In logits x the term is ``max(x, 0) - x t + log(1 + e^-|x|)``, and its derivative ``p - t``.
    """
    x, xp = logits.data, array_module(logits.data)
    targets = _fitting(targets, x, "bce_with_logits: targets")
    weights = 1 if weights is None else _fitting(weights, x, "bce_with_logits: weights")
    terms = xp.maximum(x, 0) - x * targets + xp.log1p(xp.exp(-xp.abs(x)))

    def backward(grad):
        return (grad * weights * (stable_sigmoid(x) - targets),)

    return Tensor.from_operation(_total(weights * terms), (logits,), backward, "bce_with_logits")


def cross_entropy(logits, labels):
    """``-sum log softmax(logits)[label]``: for classes that exclude one another (notes H1).

    logits: Tensor (count, classes); labels: whole numbers (count,).  Derivative: ``softmax - one_hot``.
    Raises ValueError for other shapes, and for a label outside 0 ... classes - 1.
    """
    x, xp = logits.data, array_module(logits.data)
    if x.ndim != 2 or labels.shape != x.shape[:1]:
        raise ValueError(
            f"cross_entropy: needs logits (count, classes) and labels (count,), not {x.shape} and {labels.shape}"
        )
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
    """``sum w (prediction - target)^2 / 2``; the half makes the derivative the plain difference.

    targets and weights: arrays that broadcast to the prediction's shape; weights None for 1.  Raises ValueError
    where they do not.
    """
    difference = prediction.data - _fitting(targets, prediction.data, "squared_error: targets")
    weights = 1 if weights is None else _fitting(weights, prediction.data, "squared_error: weights")

    def backward(grad):
        return (grad * weights * difference,)

    return Tensor.from_operation(_total(weights * difference**2) / 2, (prediction,), backward, "squared_error")


def _fitting(values, predictions, what):
    """``values`` in the dtype of the predictions; ValueError unless they broadcast to the predictions' shape.

    Without the check, targets (n,) and predictions (n, 1) would silently make n * n terms.
    """
    values = array_module(predictions).asarray(values, dtype=predictions.dtype)
    pairs = zip(reversed(values.shape), reversed(predictions.shape), strict=False)
    if values.ndim > predictions.ndim or any(size not in (1, full) for size, full in pairs):
        raise ValueError(f"{what} {values.shape} do not fit the predictions {predictions.shape}")
    return values


def _total(terms):
    """The sum as an array without axes, in the dtype of the terms."""
    return terms.sum(keepdims=True).reshape(())
