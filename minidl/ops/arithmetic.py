"""Elementwise arithmetic, with NumPy's broadcasting."""

from numbers import Number

import numpy as np

from minidl.device import array_module
from minidl.ops.devices import beside, check_devices
from minidl.tensor import HALF, Tensor


class _Constant:
    """A plain number beside a tensor, in the tensor's number type.  No array: to a GPU that would be a copy."""

    __slots__ = ("data",)
    requires_grad, shape, ndim = False, (), 0

    def __init__(self, data):
        self.data = data


def tensors(a, b, operation):
    """Both operands as tensors on one device, where at least one is a tensor.

    Plain numbers and arrays take the number type of the tensor beside them, and arrays from the CPU are copied to its
    device.  Raises ValueError for tensors or arrays on different devices.
    """
    if not isinstance(a, Tensor):
        return _operand(a, b, operation), b
    if not isinstance(b, Tensor):
        return a, _operand(b, a, operation)
    check_devices(operation, a, b)
    return a, b


def _operand(value, like, operation):
    if isinstance(value, Number):
        return _Constant(like.dtype.type(value))
    return Tensor(beside(value, like.data, operation))


def sum_type(dtype):
    """The number type in which numbers of type ``dtype`` are added up: float32 for float16, else their own."""
    return np.float32 if dtype == HALF else dtype


def unbroadcast(grad, shape):
    """Sum ``grad`` back to ``shape``: an entry that was broadcast to many places collects all their gradients."""
    if grad.shape == shape:
        return grad
    added = grad.ndim - len(shape)
    stretched = tuple(axis + added for axis, size in enumerate(shape) if size == 1)
    return grad.sum(axis=(*range(added), *stretched), keepdims=True, dtype=sum_type(grad.dtype)).reshape(shape)


def add(a, b):
    """``a + b``.  Both inputs receive the gradient as it is."""
    a, b = tensors(a, b, "add")

    def backward(grad):
        grad_a = unbroadcast(grad, a.shape) if a.requires_grad else None
        grad_b = unbroadcast(grad, b.shape) if b.requires_grad else None
        return grad_a, grad_b

    return Tensor.from_operation(a.data + b.data, (a, b), backward, "add")


def subtract(a, b):
    """``a - b``."""
    a, b = tensors(a, b, "subtract")

    def backward(grad):
        grad_a = unbroadcast(grad, a.shape) if a.requires_grad else None
        grad_b = unbroadcast(-grad, b.shape) if b.requires_grad else None
        return grad_a, grad_b

    return Tensor.from_operation(a.data - b.data, (a, b), backward, "subtract")


def multiply(a, b):
    """``a * b``: ``d/da = b`` and ``d/db = a``."""
    a, b = tensors(a, b, "multiply")

    def backward(grad):
        grad_a = unbroadcast(grad * b.data, a.shape) if a.requires_grad else None
        grad_b = unbroadcast(grad * a.data, b.shape) if b.requires_grad else None
        return grad_a, grad_b

    return Tensor.from_operation(a.data * b.data, (a, b), backward, "multiply")


def divide(a, b):
    """``a / b``: ``d/da = 1 / b`` and ``d/db = -a / b^2``."""
    a, b = tensors(a, b, "divide")
    out = a.data / b.data

    def backward(grad):
        grad_a = unbroadcast(grad / b.data, a.shape) if a.requires_grad else None
        grad_b = unbroadcast(-grad * out / b.data, b.shape) if b.requires_grad else None
        return grad_a, grad_b

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
    xp = array_module(a.data)
    out, inside = a.data, a.data == a.data
    if low is not None:
        out, inside = xp.maximum(out, low), inside & (a.data >= low)
    if high is not None:
        out, inside = xp.minimum(out, high), inside & (a.data <= high)
    return Tensor.from_operation(out, (a,), lambda grad: (grad * inside,), "clip")


def cast(a, dtype):
    """The same numbers in another number type, such as float32 heads of a float16 network; the gradient is cast back.

    float16 exists on GPUs alone: raises TypeError for it on the CPU.
    """
    return Tensor.from_operation(a.data.astype(dtype), (a,), lambda grad: (grad.astype(a.dtype),), "cast")
