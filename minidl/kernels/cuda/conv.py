"""Convolution on a GPU: the three functions and their gradients, each handed to the way that suits its shape.

    y[n, i, j, o] = sum over u, v, c of  x[n, i * stride + u - padding, j * stride + v - padding, c] * w[u, v, c, o]

There are three ways, each a module with the same three functions, which write into arrays that they are given:

    forward(x, weight, y, stride, padding, epilogue, plan, workspace)
    grad_input(grad, weight, dx, stride, padding, plan)
    grad_weight(x, grad, dweight, stride, padding, plan, workspace)

    conv_plain      tiles of 16x16 in shared memory: the lesson to begin with
    conv_blocked    every thread computes 8x8 or 8x4 numbers in registers, and reads four numbers at a time
    conv_tensor     tensor cores, for TF32 and float16; channels must be multiples of 4 or 8

x, y and the residual of the epilogue may be slices of the channels of larger maps (their pixels lie in order, at a
larger distance); grad, dx, weight and dweight are contiguous.  The weight is of the storage type, dweight of the type
computed in.  ``plan`` (:class:`minidl.kernels.cuda.conv_choice.Plan`) names the tile and into how many parts the sum
is split; where that is more than one, the workspace holds ``plan.parts`` partial results, in the type computed in, one
behind the other, and conv_parts.py adds them in order.
"""

import numpy as np

from minidl.device import array_module
from minidl.kernels.cuda import conv_blocked, conv_plain, conv_tensor
from minidl.kernels.cuda.conv_choice import (
    TENSOR_CORES,
    choose,
    forward_product,
    grad_input_product,
    grad_weight_product,
    partial_sums,
)
from minidl.kernels.cuda.conv_parts import as_storage
from minidl.kernels.cuda.conv_shape import Epilogue
from minidl.kernels.cuda.launch import REAL
from minidl.kernels.cuda.reduce import sum_rows
from minidl.kernels.cuda.settings import current
from minidl.kernels.shapes import conv_output_size

WAYS = {"plain": conv_plain, "blocked": conv_blocked, "tensor": conv_tensor}
MOST_PHASES = 65535  # blocks in the third direction of a grid


def conv2d(x, weight, bias, stride, padding):
    """The convolution above, plus ``bias`` (out_channels,) unless it is None.

    ``stride`` and ``padding`` are ``(vertical, horizontal)``; weight and bias are of the type computed in, which is
    float32 for maps of float16.  (batch, height, width, in_channels) -> (batch, out_height, out_width, out_channels).
    """
    xp = array_module(x)
    size = conv_output_size(x.shape[1:3], weight.shape[:2], stride, padding)
    y = xp.empty((x.shape[0], *size, weight.shape[3]), x.dtype)
    bias = None if bias is None else xp.ascontiguousarray(bias)
    conv2d_into(xp.ascontiguousarray(x), weight, stride, padding, y, Epilogue(bias))
    return y


def conv2d_into(x, weight, stride, padding, y, epilogue, workspace=None):
    """Fill ``y`` with ``leaky(leaky(convolution + bias, slope) + residual, final_slope)``.

    x, y and the residual may be slices of the channels of larger maps.  The weight may be of the maps' type already.
    workspace: numbers of the type computed in, at least :func:`conv2d_workspace` of them.  With it, and with such a
    weight, no memory is allocated, so that the launches can be recorded in a CUDA graph.

    Raises ValueError where the shapes do not agree.
    """
    size = conv_output_size(x.shape[1:3], weight.shape[:2], stride, padding)
    if y.shape != (x.shape[0], *size, weight.shape[3]) or x.shape[3] != weight.shape[2]:
        raise ValueError(f"conv2d: {x.shape} and the weight {weight.shape} do not make {y.shape}")
    if y.size == 0:  # not one image
        return
    weight = as_storage(weight, x.dtype)
    product = forward_product(weight.shape, y.shape)
    maps = (x, weight, y) if epilogue.residual is None else (x, weight, y, epilogue.residual)
    plan = plan_of(product, weight.shape, *maps)
    if workspace is None:
        workspace = _workspace(x, product, plan)
    WAYS[plan.way].forward(x, weight, y, stride, padding, epilogue, plan, workspace)


def conv2d_workspace(x_shape, weight_shape, stride, padding, dtype):
    """How many numbers (of the type computed in) :func:`conv2d_into` needs for partial sums, with the present settings.

    That depends on whether tensor cores can be used, which addresses and the GPU decide; this is enough either way.
    """
    size = conv_output_size(x_shape[1:3], weight_shape[:2], stride, padding)
    product = forward_product(weight_shape, (x_shape[0], *size, weight_shape[3]))
    possible = {False, _tensor_type(np.dtype(dtype))}
    return max(partial_sums(product, choose(product, current().convolution, tensor)) for tensor in possible)


def conv2d_grad_input(grad, weight, image_size, stride, padding):
    """Gradient with respect to the image; pixels that no window reaches get zeros.

    (batch, out_height, out_width, out_channels) -> (batch, height, width, in_channels).  Raises ValueError for a stride
    of more than 65535 pixels (down times right).
    """
    if stride[0] * stride[1] > MOST_PHASES:
        raise ValueError(f"conv2d: a stride of {stride[0]}x{stride[1]} is too large: at most {MOST_PHASES} pixels")
    xp = array_module(grad)
    grad, weight = xp.ascontiguousarray(grad), as_storage(weight, grad.dtype)
    dx = xp.empty((grad.shape[0], *image_size, weight.shape[2]), grad.dtype)
    if dx.size == 0:
        return dx
    plan = plan_of(grad_input_product(weight.shape, dx.shape, stride), weight.shape, grad, weight, dx)
    WAYS[plan.way].grad_input(grad, weight, dx, stride, padding, plan)
    return dx


def conv2d_grad_weight(x, grad, kernel_size, stride, padding):
    """Gradient with respect to the weight, in the type computed in.

    -> (kernel_height, kernel_width, in_channels, out_channels).
    """
    xp = array_module(x)
    x, grad = xp.ascontiguousarray(x), xp.ascontiguousarray(grad)
    dweight = xp.empty((*kernel_size, x.shape[3], grad.shape[3]), REAL[x.dtype.name])
    if grad.size == 0:
        dweight[...] = 0
        return dweight
    product = grad_weight_product(dweight.shape, grad.shape)
    plan = plan_of(product, dweight.shape, x, grad)
    WAYS[plan.way].grad_weight(x, grad, dweight, stride, padding, plan, _workspace(x, product, plan))
    return dweight


def conv2d_grad_bias(grad):
    """``sum over n, i, j of grad[n, i, j, o]``, in the type computed in.

    (batch, out_height, out_width, out_channels) -> (out_channels,).
    """
    return sum_rows(grad.reshape(-1, grad.shape[-1]))


def plan_of(product, weight_shape, *arrays):
    """The plan for a product, by the settings and by whether tensor cores can take all these arrays."""
    library = array_module(arrays[0])
    tensor = (
        _tensor_type(arrays[0].dtype)
        and int(library.cuda.Device().compute_capability) >= TENSOR_CORES
        and conv_tensor.fits(weight_shape, *arrays)
    )
    return choose(product, current().convolution, tensor)


def _tensor_type(dtype):
    """Whether numbers of a type may go through tensor cores: halves always, float32 where TF32 is asked for."""
    return dtype == np.float16 or (dtype == np.float32 and current().precision == "tf32")


def _workspace(like, product, plan):
    """Memory for partial sums; None where the sum is not split."""
    count = partial_sums(product, plan)
    return array_module(like).empty(count, REAL[like.dtype.name]) if count else None
