"""Operations that only rearrange: the gradient goes back the same way."""

from minidl.device import array_module
from minidl.tensor import Tensor


def reshape(a, *shape):
    """The same numbers in another shape; one size may be -1."""
    shape = shape[0] if len(shape) == 1 and isinstance(shape[0], tuple) else shape
    return Tensor.from_operation(a.data.reshape(shape), (a,), lambda grad: (grad.reshape(a.shape),), "reshape")


def transpose(a, *axes):
    """Axes in another order (reversed if none is given)."""
    axes = axes[0] if len(axes) == 1 and isinstance(axes[0], tuple) else axes
    order = tuple(axis % a.ndim for axis in axes) if axes else tuple(reversed(range(a.ndim)))
    inverse = tuple(order.index(axis) for axis in range(a.ndim))
    return Tensor.from_operation(a.data.transpose(order), (a,), lambda grad: (grad.transpose(inverse),), "transpose")


def take(a, index):
    """``a[index]``: slices, numbers, None, Ellipsis, arrays of indices or of booleans.

    The gradient is zero but at the places taken; a place taken twice by an array of indices collects both.
    """

    def backward(grad):
        xp = array_module(grad)
        full = xp.zeros(a.shape, grad.dtype)
        if _is_basic(index):
            full[index] = grad
        else:
            xp.add.at(full, index, grad)
        return (full,)

    return Tensor.from_operation(a.data[index], (a,), backward, "take")


def _is_basic(index):
    parts = index if isinstance(index, tuple) else (index,)
    return all(part is None or part is Ellipsis or isinstance(part, int | slice) for part in parts)
