"""Adding maps whose sizes may differ.  Kernel: ``add``, for maps of equal size."""

from minidl.device import array_module, kernels_for
from minidl.ops.devices import check_devices
from minidl.tensor import Tensor


def shortcut(x, source):
    """``x`` plus ``source`` where both have something: (batch, height, width, channels), the output as large as ``x``.

    Where the source has more pixels, every n-th is taken; where it has fewer, they meet every n-th of x (n is the
    whole ratio of the sizes, the same for height and width); of the channels, as many as both have.  So
    the original's residual networks halve a map without a projection: an identity with zeros for the new channels.
    Equal shapes: ``x + source``.  Backward: x receives the whole gradient, the source what stands at its places.
    Spec 3.6.  Raises ValueError where batch sizes or ratios differ.
    """
    check_devices("shortcut", x, source)
    if x.shape == source.shape:
        y = kernels_for(x.data).add(x.data, source.data)
        return Tensor.from_operation(y, (x, source), lambda grad: (grad, grad), "shortcut")
    ratios = {_ratio(*sides) for sides in zip(x.shape[1:3], source.shape[1:3], strict=True)}
    if x.shape[0] != source.shape[0] or len(ratios) > 1:
        raise ValueError(f"shortcut: {source.shape} cannot be added to {x.shape}: batch or proportions differ")
    own, other = _meeting_places(x.shape, source.shape)
    y = x.data.copy()
    y[own] += source.data[other]

    def backward(grad):
        grad_source = array_module(grad).zeros(source.shape, grad.dtype)
        grad_source[other] = grad[own]
        return grad, grad_source

    return Tensor.from_operation(y, (x, source), backward, "shortcut")


def _ratio(side, source_side):
    """(step in x, step in the source): one of them is 1."""
    return max(1, side // source_side), max(1, source_side // side)


def _meeting_places(shape, source_shape):
    """Index of x and index of the source under which the numbers stand that are added."""
    own, other = [slice(None)], [slice(None)]
    for side, source_side in zip(shape[1:3], source_shape[1:3], strict=True):
        step, source_step = _ratio(side, source_side)
        last = min(side, source_side) - 1
        own.append(slice(0, last * step + 1, step))
        other.append(slice(0, last * source_step + 1, source_step))
    channels = slice(0, min(shape[3], source_shape[3]))
    return (*own, channels), (*other, channels)
