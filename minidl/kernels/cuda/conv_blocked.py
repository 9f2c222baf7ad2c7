"""Convolution on a GPU with blocks of results in registers.  Kernels: ``conv_blocked.cu``.  The interface: conv.py."""

from minidl.kernels.cuda.conv_products import Products
from minidl.kernels.cuda.launch import Source, blocks_for

SOURCE = Source("conv_blocked.cu")


def _launch(product, plan, size, *arguments):
    """size: (rows, columns, blocks in the third direction) of the product."""
    tile = plan.tile[0]
    grid = blocks_for(size[0], tile), blocks_for(size[1], tile), size[2]
    SOURCE.launch(f"conv_blocked_{product}_{tile}", grid, 2 * tile, *arguments)


_products = Products(_launch)
forward, grad_input, grad_weight = _products.forward, _products.grad_input, _products.grad_weight
