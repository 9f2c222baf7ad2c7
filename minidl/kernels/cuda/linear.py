"""The fully connected layer on a GPU: a 1x1 convolution of pictures of one pixel, by whose kernels it runs."""

from minidl.kernels.cuda.conv import conv2d, conv2d_grad_input, conv2d_grad_weight

STRIDE, PADDING = (1, 1), (0, 0)


def linear(x, weight, bias):
    """``x @ weight + bias``: (count, inputs), (inputs, outputs) -> (count, outputs); bias (outputs,) or None."""
    y = conv2d(_pixels(x), weight.reshape(1, 1, *weight.shape), bias, STRIDE, PADDING)
    return y.reshape(len(x), -1)


def linear_grad_input(grad, weight):
    """``grad @ weight^T``: (count, outputs) -> (count, inputs)."""
    dx = conv2d_grad_input(_pixels(grad), weight.reshape(1, 1, *weight.shape), (1, 1), STRIDE, PADDING)
    return dx.reshape(len(grad), -1)


def linear_grad_weight(x, grad):
    """``x^T @ grad``: (inputs, outputs), in the parameters' number type."""
    return conv2d_grad_weight(_pixels(x), _pixels(grad), (1, 1), STRIDE, PADDING)[0, 0]


def _pixels(rows):
    """(count, channels) as (count, 1, 1, channels)."""
    return rows.reshape(len(rows), 1, 1, -1)
