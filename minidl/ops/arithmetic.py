"""Elementwise arithmetic, with NumPy's broadcasting."""

from minidl.device import array_module
from minidl.tensor import Tensor


def as_tensor(value, like):
    """``value`` as a Tensor; plain numbers take the dtype of the tensor ``like`` beside them."""
    if isinstance(value, Tensor):
        return value
    xp = array_module(like.data)
    return Tensor(xp.asarray(value, dtype=like.dtype))


def tensors(a, b):
    """Both operands as tensors, where at least one is."""
    if isinstance(a, Tensor):
        return a, as_tensor(b, a)
    return as_tensor(a, b), b


def unbroadcast(grad, shape):
    """Sum ``grad`` back to ``shape``: an entry that was broadcast to many places collects all their gradients."""
    if grad.shape == shape:
        return grad
    added = grad.ndim - len(shape)
    stretched = tuple(axis + added for axis, size in enumerate(shape) if size == 1)
    return grad.sum(axis=(*range(added), *stretched), keepdims=True).reshape(shape)


def add(a, b):
    """``a + b``.  Both inputs receive the gradient as it is."""
    a, b = tensors(a, b)

    def backward(grad):
        return unbroadcast(grad, a.shape), unbroadcast(grad, b.shape)

    return Tensor.from_operation(a.data + b.data, (a, b), backward, "add")


def subtract(a, b):
    """``a - b``."""
    a, b = tensors(a, b)

    def backward(grad):
        return unbroadcast(grad, a.shape), unbroadcast(-grad, b.shape)

    return Tensor.from_operation(a.data - b.data, (a, b), backward, "subtract")


def multiply(a, b):
    """``a * b``: ``d/da = b`` and ``d/db = a``."""
    a, b = tensors(a, b)

    def backward(grad):
        return unbroadcast(grad * b.data, a.shape), unbroadcast(grad * a.data, b.shape)

    return Tensor.from_operation(a.data * b.data, (a, b), backward, "multiply")


def divide(a, b):
    """``a / b``: ``d/da = 1 / b`` and ``d/db = -a / b^2``."""
    a, b = tensors(a, b)
    out = a.data / b.data

    def backward(grad):
        return unbroadcast(grad / b.data, a.shape), unbroadcast(-grad * out / b.data, b.shape)

    return Tensor.from_operation(out, (a, b), backward, "divide")


def negative(a):
    """``-a``."""
    return Tensor.from_operation(-a.data, (a,), lambda grad: (-grad,), "negative")


def power(a, exponent):
    """``a ** exponent`` for a plain number as exponent: ``exponent * a ** (exponent - 1)``."""
    if isinstance(exponent, Tensor):
        raise TypeError("power: the exponent must be a plain number; write exp(log(a) * b) for a tensor")

    def backward(grad):
        return (grad * exponent * a.data ** (exponent - 1),)

    return Tensor.from_operation(a.data**exponent, (a,), backward, "power")


def exp(a):
    """``e ** a``, which is its own derivative."""
    out = array_module(a.data).exp(a.data)
    return Tensor.from_operation(out, (a,), lambda grad: (grad * out,), "exp")


def log(a):
    """Natural logarithm; ``d/da = 1 / a``."""
    out = array_module(a.data).log(a.data)
    return Tensor.from_operation(out, (a,), lambda grad: (grad / a.data,), "log")


def sqrt(a):
    """Square root; ``d/da = 1 / (2 sqrt(a))``."""
    out = array_module(a.data).sqrt(a.data)
    return Tensor.from_operation(out, (a,), lambda grad: (grad / (2 * out),), "sqrt")


def clip(a, low=None, high=None):
    """``min(max(a, low), high)``; None leaves a side open.  Outside, the output is constant: gradient 0."""
    inside = a.data == a.data
    if low is not None:
        inside = inside & (a.data >= low)
    if high is not None:
        inside = inside & (a.data <= high)
    out = array_module(a.data).clip(a.data, low, high)
    return Tensor.from_operation(out, (a,), lambda grad: (grad * inside,), "clip")
