"""Operations that only rearrange: the gradient goes back the same way."""

import numpy as np

from minidl.device import array_module
from minidl.ops.devices import beside
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

    The gradient is zero but at the places taken; a place taken twice by an array of indices collects both (on a GPU in
    no fixed order).  An array of booleans that lies on a GPU makes the program wait for it: how many are true decides
    the result's shape.
    """
    xp, index = array_module(a.data), _places(index, a.data)

    def backward(grad):
        full = xp.zeros(a.shape, grad.dtype)
        if any(hasattr(part, "shape") for part in index):
            xp.add.at(full, index, grad)
        else:
            full[index] = grad
        return (full,)

    return Tensor.from_operation(a.data[index], (a,), backward, "take")


def _places(index, array):
    """An index as a tuple of slices, numbers, None, Ellipsis, and arrays of whole numbers beside ``array``."""
    places = []
    for part in index if isinstance(index, tuple) else (index,):
        if part is None or part is Ellipsis or isinstance(part, int | slice):
            places.append(part)
        elif isinstance(part, np.integer):
            places.append(int(part))
        else:
            part = np.asarray(part) if isinstance(part, list) else part
            several = part.nonzero() if part.dtype == bool else (part,)  # where it is true, per axis
            places += (beside(each, array, "take", each.dtype) for each in several)
    return tuple(places)
