"""Convolution.  Kernels: ``conv2d``, ``conv2d_grad_input``, ``conv2d_grad_weight``, ``conv2d_grad_bias``."""

from minidl.device import kernels_for
from minidl.kernels.shapes import pair
from minidl.ops.devices import check_devices
from minidl.tensor import Tensor


def conv2d(x, weight, bias=None, stride=1, padding=0):
    """``y[n, i, j, o] = bias[o] + sum over u, v, c of x[n, i s + u - p, j s + v - p, c] weight[u, v, c, o]``.

    Parameters
    ----------
    x: (batch, height, width, in_channels)
    weight: (kernel_height, kernel_width, in_channels, out_channels)
    bias: (out_channels,) or None
    stride, padding: one number, or (vertical, horizontal); padding is the zeros added on each side.

    Returns (batch, out_height, out_width, out_channels) with ``out = (in + 2 padding - kernel) // stride + 1``.
    Raises ValueError where shapes do not agree, no window fits, or stride or padding is not as above.

    Backward: the weight's gradient is each window times the gradient of its output pixel, summed; the image's
    is the convolution run backwards, each pixel collecting from the windows it was in.  Saved: x and weight.
    Notes B4; spec 3.1.
    """
    if weight.ndim != 4:
        raise ValueError(
            f"conv2d: the weight must be (kernel_height, kernel_width, in_channels, out_channels), not {weight.shape}"
        )
    if bias is not None and bias.shape != weight.shape[3:]:
        raise ValueError(f"conv2d: the bias must have the shape {weight.shape[3:]}, not {bias.shape}")
    if x.ndim != 4 or x.shape[3] != weight.shape[2]:
        raise ValueError(
            f"conv2d: the weight {weight.shape} needs an input (batch, height, width, {weight.shape[2]}), not {x.shape}"
        )
    check_devices("conv2d", x, weight, bias)
    stride, padding = pair(stride, "conv2d: stride", least=1), pair(padding, "conv2d: padding")
    kernels = kernels_for(x.data)
    y = kernels.conv2d(x.data, weight.data, None if bias is None else bias.data, stride, padding)

    def backward(grad):
        grad_x = grad_weight = None
        if x.requires_grad:
            grad_x = kernels.conv2d_grad_input(grad, weight.data, x.shape[1:3], stride, padding)
        if weight.requires_grad:
            grad_weight = kernels.conv2d_grad_weight(x.data, grad, weight.shape[:2], stride, padding)
        return (grad_x, grad_weight) if bias is None else (grad_x, grad_weight, kernels.conv2d_grad_bias(grad))

    parents = (x, weight) if bias is None else (x, weight, bias)
    return Tensor.from_operation(y, parents, backward, "conv2d")
