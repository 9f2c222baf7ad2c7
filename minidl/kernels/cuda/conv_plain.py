"""Convolution on a GPU with tiles in shared memory.  Kernels: ``conv_plain.cu``.  The interface: conv.py."""

from minidl.kernels.cuda.conv_parts import sum_parts
from minidl.kernels.cuda.conv_shape import conv_shape, memory_of, phase_pixels, term_count
from minidl.kernels.cuda.launch import Source, blocks_for

SOURCE = Source("conv_plain.cu")
TILE = 16
BLOCK = TILE, TILE


def forward(x, weight, y, stride, padding, epilogue, plan, workspace):
    """Fill ``y`` with the convolution and what follows it; the sum is never split, so the workspace is not used."""
    shape = conv_shape(x, weight.shape, y, stride, padding, epilogue.residual)
    pixels, channels = y.shape[0] * y.shape[1] * y.shape[2], y.shape[3]
    grid = blocks_for(pixels, TILE), blocks_for(channels, TILE)
    maps = memory_of(x), weight, epilogue.bias, memory_of(epilogue.residual), memory_of(y)
    SOURCE.launch("conv_plain_forward", grid, BLOCK, *maps, shape, epilogue.slopes(x.dtype))


def grad_input(grad, weight, dx, stride, padding, plan):
    """Fill ``dx`` with the gradient of the input."""
    shape = conv_shape(dx, weight.shape, grad, stride, padding)
    grid = blocks_for(phase_pixels(dx, stride), TILE), blocks_for(dx.shape[3], TILE), stride[0] * stride[1]
    SOURCE.launch("conv_plain_grad_input", grid, BLOCK, grad, weight, dx, shape)


def grad_weight(x, grad, dweight, stride, padding, plan, workspace):
    """Fill ``dweight`` with the gradient of the weight, by way of the workspace where the sum is split."""
    shape = conv_shape(x, dweight.shape, grad, stride, padding)
    grid = blocks_for(term_count(dweight), TILE), blocks_for(dweight.shape[3], TILE), plan.parts
    sums = dweight if plan.parts == 1 else workspace
    SOURCE.launch("conv_plain_grad_weight", grid, BLOCK, memory_of(x), grad, sums, shape)
    if plan.parts > 1:
        sum_parts(workspace, dweight, plan.parts)
