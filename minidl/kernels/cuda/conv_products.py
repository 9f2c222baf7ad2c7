"""The three products of a convolution, for the ways whose sums may be split among blocks.

``conv_blocked`` and ``conv_tensor`` differ in their kernels; which arrays these get, how large the product is, and
how its parts are added up, is the same.
"""

from minidl.kernels.cuda.conv_parts import finish_parts, sum_parts
from minidl.kernels.cuda.conv_shape import conv_shape, memory_of, phase_pixels, term_count


class Products:
    """``launch(product, plan, (rows, columns, blocks in the third direction), *arguments)`` starts a way's kernel."""

    def __init__(self, launch):
        self._launch = launch

    def forward(self, x, weight, y, stride, padding, epilogue, plan, workspace):
        """Fill ``y`` with the convolution and what follows it, by way of the workspace where the sum is split."""
        shape = conv_shape(x, weight.shape, y, stride, padding, epilogue.residual)
        pixels, channels = y.shape[0] * y.shape[1] * y.shape[2], y.shape[3]
        maps = memory_of(x), weight, epilogue.bias, memory_of(epilogue.residual), memory_of(y)
        parts = workspace if plan.parts > 1 else None
        self._launch("forward", plan, (pixels, channels, plan.parts), *maps, parts, shape, epilogue.slopes(x.dtype))
        if plan.parts > 1:
            finish_parts(workspace, y, shape, epilogue, plan.parts)

    def grad_input(self, grad, weight, dx, stride, padding, plan):
        """Fill ``dx`` with the gradient of the input."""
        shape = conv_shape(dx, weight.shape, grad, stride, padding)
        size = phase_pixels(dx, stride), dx.shape[3], stride[0] * stride[1]
        self._launch("grad_input", plan, size, grad, weight, dx, shape)

    def grad_weight(self, x, grad, dweight, stride, padding, plan, workspace):
        """Fill ``dweight`` with the gradient of the weight, by way of the workspace where the sum is split."""
        shape = conv_shape(x, dweight.shape, grad, stride, padding)
        sums = dweight if plan.parts == 1 else workspace
        size = term_count(dweight), dweight.shape[3], plan.parts
        self._launch("grad_weight", plan, size, memory_of(x), grad, sums, shape)
        if plan.parts > 1:
            sum_parts(workspace, dweight, plan.parts)
