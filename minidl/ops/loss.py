"""Losses.  Each returns the *sum* over all entries; divide by the batch, or by what else the mean is over.

Losses take logits, not probabilities: ``log(sigmoid(x))`` taken apart stays finite where ``sigmoid(x)`` has
become 0 or 1 (logits of +-1000 are fine), and its gradient is the plain difference ``p - target``.

Predictions must be float32 or float64; cast those of a float16 network first (``ops.cast``).  Targets, weights and
labels may come from the CPU or lie beside the predictions.  Kernels: the names of the losses, and ``_grad``.
"""

from minidl.device import device_of, kernels_for
from minidl.ops.devices import beside
from minidl.tensor import HALF, Tensor


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
    x, kernels = logits.data, kernels_for(logits.data)
    targets = _fitting(targets, x, "bce_with_logits: targets")
    weights = _fitting(weights, x, "bce_with_logits: weights")

    def backward(grad):
        return (kernels.bce_with_logits_grad(grad, x, targets, weights),)

    total = kernels.bce_with_logits(x, targets, weights)
    return Tensor.from_operation(total, (logits,), backward, "bce_with_logits")


def cross_entropy(logits, labels):
    """``-sum log softmax(logits)[label]``: for classes that exclude one another (notes H1).

    logits: Tensor (count, classes); labels: whole numbers (count,).  Derivative: ``softmax - one_hot``.
    Raises ValueError for other shapes, and for a label outside 0 ... classes - 1.  Labels that already lie on a GPU
    are not looked at, which would mean to wait for it: there, such a label makes the loss NaN.
    """
    x, kernels = logits.data, kernels_for(logits.data)
    if x.ndim != 2 or labels.shape != x.shape[:1]:
        raise ValueError(
            f"cross_entropy: needs logits (count, classes) and labels (count,), not {x.shape} and {labels.shape}"
        )
    _check_type(x, "cross_entropy")
    if device_of(labels) == "cpu" and labels.size and (labels.min() < 0 or labels.max() >= x.shape[1]):
        raise ValueError(
            f"cross_entropy: labels must lie in 0...{x.shape[1] - 1}, found {labels.min()}...{labels.max()}"
        )
    labels = beside(labels, x, "cross_entropy", labels.dtype)
    total, log_probabilities = kernels.cross_entropy(x, labels)

    def backward(grad):
        return (kernels.cross_entropy_grad(grad, log_probabilities, labels),)

    return Tensor.from_operation(total, (logits,), backward, "cross_entropy")


def squared_error(prediction, targets, weights=None):
    """``sum w (prediction - target)^2 / 2``; the half makes the derivative the plain difference.

    targets and weights: arrays that broadcast to the prediction's shape; weights None for 1.  Raises ValueError
    where they do not.
    """
    x, kernels = prediction.data, kernels_for(prediction.data)
    targets = _fitting(targets, x, "squared_error: targets")
    weights = _fitting(weights, x, "squared_error: weights")

    def backward(grad):
        return (kernels.squared_error_grad(grad, x, targets, weights),)

    total = kernels.squared_error(x, targets, weights)
    return Tensor.from_operation(total, (prediction,), backward, "squared_error")


def _fitting(values, predictions, what):
    """``values`` in the number type and on the device of the predictions; None stays None.

    ValueError unless they broadcast to the predictions' shape: else targets (n,) and predictions (n, 1) would silently
    make n * n terms.
    """
    _check_type(predictions, what)
    if values is None:
        return None
    values = beside(values, predictions, what)
    pairs = zip(reversed(values.shape), reversed(predictions.shape), strict=False)
    if values.ndim > predictions.ndim or any(size not in (1, full) for size, full in pairs):
        raise ValueError(f"{what} {values.shape} do not fit the predictions {predictions.shape}")
    return values


def _check_type(predictions, what):
    if predictions.dtype == HALF:
        raise TypeError(f"{what}: sums of float16 numbers would overflow; use ops.cast(predictions, numpy.float32)")
