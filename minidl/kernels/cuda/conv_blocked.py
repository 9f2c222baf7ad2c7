"""Convolution on a GPU with blocks of results in registers.  Kernels: ``conv_blocked.cu``.  The interface: conv.py."""

from minidl.kernels.cuda.conv_parts import finish_parts, sum_parts
from minidl.kernels.cuda.conv_shape import conv_shape, memory_of, phase_pixels, term_count
from minidl.kernels.cuda.launch import Source, blocks_for

SOURCE = Source("conv_blocked.cu")


def forward(x, weight, y, stride, padding, epilogue, plan, workspace):
    """Fill ``y`` with the convolution and what follows it, by way of the workspace where the sum is split."""
    shape = conv_shape(x, weight.shape, y, stride, padding, epilogue.residual)
    pixels, channels = y.shape[0] * y.shape[1] * y.shape[2], y.shape[3]
    maps = memory_of(x), weight, epilogue.bias, memory_of(epilogue.residual), memory_of(y)
    parts = workspace if plan.parts > 1 else None
    _launch("forward", plan, (pixels, channels, plan.parts), *maps, parts, shape, epilogue.slopes(x.dtype))
    if plan.parts > 1:
        finish_parts(workspace, y, shape, epilogue, plan.parts)


def grad_input(grad, weight, dx, stride, padding, plan):
    """Fill ``dx`` with the gradient of the input."""
    shape = conv_shape(dx, weight.shape, grad, stride, padding)
    size = phase_pixels(dx, stride), dx.shape[3], stride[0] * stride[1]
    _launch("grad_input", plan, size, grad, weight, dx, shape)


def grad_weight(x, grad, dweight, stride, padding, plan, workspace):
    """Fill ``dweight`` with the gradient of the weight, by way of the workspace where the sum is split."""
    shape = conv_shape(x, dweight.shape, grad, stride, padding)
    sums = dweight if plan.parts == 1 else workspace
    _launch("grad_weight", plan, (term_count(dweight), dweight.shape[3], plan.parts), memory_of(x), grad, sums, shape)
    if plan.parts > 1:
        sum_parts(workspace, dweight, plan.parts)


def _launch(product, plan, size, *arguments):
    """size: (rows, columns, blocks in the third direction) of the product."""
    tile = plan.tile[0]
    grid = blocks_for(size[0], tile), blocks_for(size[1], tile), size[2]
    SOURCE.launch(f"conv_blocked_{product}_{tile}", grid, 2 * tile, *arguments)
