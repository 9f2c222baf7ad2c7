"""Losses and their gradients on NumPy arrays (notes H1, H2).  Sums are arrays without axes."""

import numpy as np

from minidl.kernels.cpu.elementwise import sigmoid
from minidl.kernels.cpu.reduce import sum_all
from minidl.kernels.cpu.softmax import log_softmax


def bce_with_logits(x, targets, weights):
    """``sum w [max(x, 0) - x t + log(1 + e^-|x|)]``; targets and weights broadcast to x, weights None for 1."""
    return sum_all(_weighted(weights, np.maximum(x, 0) - x * targets + np.log1p(np.exp(-np.abs(x)))))


def bce_with_logits_grad(grad, x, targets, weights):
    """``grad * w * (sigmoid(x) - t)``; grad: an array without axes."""
    return _weighted(weights, sigmoid(x) - targets) * grad


def squared_error(x, targets, weights):
    """``sum w (x - t)^2 / 2``; targets and weights broadcast to x, weights None for 1."""
    return sum_all(_weighted(weights, (x - targets) ** 2)) / 2


def squared_error_grad(grad, x, targets, weights):
    """``grad * w * (x - t)``; grad: an array without axes."""
    return _weighted(weights, x - targets) * grad


def cross_entropy(x, labels):
    """``-sum log softmax(x)[label]`` of x (count, classes), and the logarithms, which the gradient needs."""
    log_probabilities = log_softmax(x)
    return -sum_all(log_probabilities[np.arange(len(labels)), labels]), log_probabilities


def cross_entropy_grad(grad, log_probabilities, labels):
    """``grad * (softmax - one_hot)``; grad: an array without axes."""
    difference = np.exp(log_probabilities)
    difference[np.arange(len(labels)), labels] -= 1
    return grad * difference


def _weighted(weights, terms):
    return terms if weights is None else weights * terms
