"""Pooling.  Kernels: ``maxpool2d``, ``global_average_pool`` and their gradients."""

from minidl.device import kernels_for
from minidl.kernels.shapes import whole_number, window_count
from minidl.tensor import Tensor


def maxpool2d(x, size, stride=1, padding=None):
    """Largest value of each ``size x size`` window: (batch, height, width, channels) in and out.

    ``padding`` is the *total* number of rows and of columns added, half of it (rounded down) left and top; the
    default ``size - 1`` is the original's.  Added places never win.  ``out = (in + padding - size) // stride + 1``.
    NaN wins over every number, so that it shows.  Backward: the winner alone receives the gradient; saved are x and
    y, both alive anyway as the neighbours' outputs.  Notes B4; spec 3.4.
    """
    whole_number(size, "maxpool2d: size", least=1)
    whole_number(stride, "maxpool2d: stride", least=1)
    padding = size - 1 if padding is None else whole_number(padding, "maxpool2d: padding", least=0)
    if padding > 2 * (size - 1):
        raise ValueError(
            f"maxpool2d: padding {padding} makes {size}x{size} windows of nothing but padding; "
            f"give at most {2 * (size - 1)}"
        )
    image_size = x.shape[1:3]
    if min(window_count(each, size, stride, padding) for each in image_size) < 1:
        raise ValueError(f"maxpool2d: a {size}x{size} window does not fit into {image_size[0]}x{image_size[1]}")
    kernels = kernels_for(x.data)
    y = kernels.maxpool2d(x.data, size, stride, padding)

    def backward(grad):
        return (kernels.maxpool2d_grad(grad, x.data, y, size, stride, padding),)

    return Tensor.from_operation(y, (x,), backward, "maxpool2d")


def global_average_pool(x):
    """Mean over the whole map: (batch, height, width, channels) -> (batch, channels).  Notes B2; spec 3.8."""
    kernels = kernels_for(x.data)

    def backward(grad):
        return (kernels.global_average_pool_grad(grad, x.shape[1:3]),)

    return Tensor.from_operation(kernels.global_average_pool(x.data), (x,), backward, "global_average_pool")
