"""Tensors that remember how they were made, and the backward pass that walks those memories.

A :class:`Tensor` holds an array.  An operation that makes a tensor from others stores in it its *parents*
and a function that turns the gradient of its output into the gradients of its inputs.  That is all
that reverse-mode automatic differentiation needs; :meth:`Tensor.backward` does the walking.

Gradients are first order only: the functions work on arrays, so a gradient has no memory of its own.
"""

import threading

import numpy as np

from minidl.device import array_module, device_of, to_cpu

FLOATS = frozenset(map(np.dtype, (np.float32, np.float64)))
HALF = np.dtype(np.float16)

_state = threading.local()


class no_grad:
    """Inside ``with no_grad():`` operations remember nothing, which saves memory when nobody differentiates."""

    def __enter__(self):
        _state.no_grad_depth = getattr(_state, "no_grad_depth", 0) + 1

    def __exit__(self, *exc_info):
        _state.no_grad_depth -= 1


def grad_enabled():
    """Whether operations on this thread remember how their result was made."""
    return getattr(_state, "no_grad_depth", 0) == 0


class Tensor:
    """An array, and the memory of how it came about.

    Parameters
    ----------
    data: an array on any device, kept as it is if float32, float64 or, on a GPU, float16; all else, numbers and
        lists too, is made float32.  Raises TypeError for float16 on the CPU, where it would save nothing.
    requires_grad: whether ``backward()`` shall leave the gradient with respect to this tensor in ``.grad``.

    Attributes
    ----------
    data: the array.
    grad: after ``backward()``, the gradient of the result with respect to this tensor (an array of the same
        shape), for tensors that were made by the user with ``requires_grad=True``; added up over several
        backward passes until it is set to None.
    operation: the name of the operation that made this tensor; "leaf" if none did.
    """

    __slots__ = ("__weakref__", "_backward", "_parents", "data", "grad", "operation", "requires_grad")
    __array_priority__ = 1000  # above those of NumPy and CuPy, so that array + tensor calls our __radd__

    def __init__(self, data, requires_grad=False):
        if isinstance(data, Tensor):
            raise TypeError("a Tensor is made from an array; use tensor.detach() to leave its history behind")
        if not hasattr(data, "shape"):  # Python's numbers and lists
            data = np.asarray(data, np.float32)
        elif isinstance(data, np.generic):
            data = np.asarray(data)
        if data.dtype not in FLOATS:
            data = _as_float(data)
        self.data = data
        self.grad = None
        self.requires_grad = requires_grad
        self.operation = "leaf"
        self._parents = ()
        self._backward = None

    @classmethod
    def from_operation(cls, data, parents, backward, operation):
        """The result of an operation.

        ``backward`` maps the gradient of the result to a sequence of gradients, one per parent: an array of the
        parent's shape, or None for a parent that needs none.  It is kept only if some parent needs a gradient.
        """
        result = cls(data)
        result.operation = operation
        for parent in parents:
            if parent.requires_grad and grad_enabled():
                result.requires_grad = True
                result._parents = tuple(parents)
                result._backward = backward
                break
        return result

    device = property(lambda self: device_of(self.data), doc="Where the array lies: cpu, cuda or emulated.")
    shape = property(lambda self: self.data.shape)
    dtype = property(lambda self: self.data.dtype)
    ndim = property(lambda self: self.data.ndim)
    size = property(lambda self: self.data.size)

    def __len__(self):
        return len(self.data)

    def __repr__(self):
        made = "" if self.operation == "leaf" else f", from {self.operation}"
        return f"Tensor({np.array2string(to_cpu(self.data), precision=4, threshold=20)}{made})"

    def item(self):
        """The value of a tensor with one element, as a Python number: on a GPU one copy, which waits for it."""
        return self.data.item()

    def detach(self):
        """The same array without its history."""
        return Tensor(self.data)

    def backward(self, grad=None):
        """Leave the gradient of this tensor with respect to every leaf in the leaves' ``.grad``.

        ``grad`` is the gradient of the final result with respect to this tensor; it may be left out where
        this tensor is a single number (then 1).  The history is forgotten on the way, which frees its
        memory; a second call raises RuntimeError.
        """
        if not self.requires_grad:
            raise RuntimeError(
                "backward() on a tensor without history: no input of its computation requires a gradient"
            )
        if grad is None:
            if self.size != 1:
                raise RuntimeError(f"backward() without a gradient needs a single number, not the shape {self.shape}")
            grad = array_module(self.data).ones_like(self.data)
        if not hasattr(grad, "shape"):
            raise TypeError(f"backward() needs an array as gradient, not {grad!r}")
        if grad.shape != self.shape:
            raise ValueError(f"the gradient has the shape {grad.shape}, the tensor {self.shape}")
        if device_of(grad) != self.device:
            raise ValueError(f"the gradient lies on the device {device_of(grad)}, the tensor on {self.device}")

        pending = _Gradients()
        pending.add(self, grad)
        order = _topological_order(self)
        while order:
            tensor = order.pop()  # taken off, so that its memory is free as soon as it has done its part
            grad = pending.take(tensor)
            if tensor._backward is None:
                if tensor.grad is None:  # an array of the leaf's own: the one that arrived may be shared
                    tensor.grad = array_module(grad).empty(tensor.shape, tensor.dtype)
                    tensor.grad[...] = grad
                else:
                    tensor.grad += grad
                continue
            parents, backward = tensor._parents, tensor._backward
            tensor._parents, tensor._backward = (), _already_used
            for parent, parent_grad in zip(parents, backward(grad), strict=True):
                if parent.requires_grad:
                    if parent_grad.shape != parent.shape:
                        raise ValueError(
                            f"{tensor.operation}: its backward gave a gradient of shape {parent_grad.shape} "
                            f"for an input of shape {parent.shape}"
                        )
                    if parent_grad.dtype != parent.dtype:  # such as float16 beside float32
                        parent_grad = parent_grad.astype(parent.dtype)
                    pending.add(parent, parent_grad)


def _as_float(data):
    """An array that is neither float32 nor float64 as one that a tensor may hold."""
    if data.dtype != HALF:
        return data.astype(np.float32)
    if device_of(data) == "cpu":
        raise TypeError("float16 is for GPUs; on the CPU use float32: array.astype(numpy.float32)")
    return data


class _Gradients:
    """The gradients that have arrived at tensors so far: a tensor used twice receives a sum."""

    def __init__(self):
        self._arrays = {}
        self._owned = set()  # whose array is our own sum, so that the next term may be added in place

    def add(self, tensor, grad):
        key = id(tensor)
        if key not in self._arrays:
            self._arrays[key] = grad
        elif key in self._owned:
            self._arrays[key] += grad
        else:
            self._arrays[key] = self._arrays[key] + grad
            self._owned.add(key)

    def take(self, tensor):
        return self._arrays.pop(id(tensor))


def _topological_order(root):
    """All tensors that need a gradient, each behind all of its parents.

    Why the order matters: in ``b = a + a; c = b * a`` the gradient of ``b`` must be complete before it is handed
    on to ``a``.  Walking this list from its end, every tensor comes after all tensors made from it.

    A stack of our own instead of recursion: a chain of 10,000 operations must not exhaust Python's.
    """
    order, seen = [], {id(root)}
    stack = [(root, iter(root._parents))]
    while stack:
        tensor, parents = stack[-1]
        parent = next(parents, None)
        if parent is None:  # all of its parents are in the list by now
            order.append(tensor)
            stack.pop()
        elif parent.requires_grad and id(parent) not in seen:
            seen.add(id(parent))
            stack.append((parent, iter(parent._parents)))
    return order


def _already_used(grad):
    raise RuntimeError("backward() went through this computation before, and its history is gone; compute it again")
