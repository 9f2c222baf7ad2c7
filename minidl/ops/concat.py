"""Concatenation along channels.  Kernels: ``concat`` and ``concat_grad``."""

from minidl.device import kernels_for
from minidl.ops.devices import check_devices
from minidl.tensor import Tensor


def concat(*inputs):
    """``(..., c1), (..., c2), ... -> (..., c1 + c2 + ...)``; the gradient is cut apart again (notes E5, F1).

    Raises ValueError where the inputs differ in another axis than the last.
    """
    if len({each.shape[:-1] for each in inputs}) != 1:
        raise ValueError(f"concat: inputs must agree in all axes but the last, not {[each.shape for each in inputs]}")
    check_devices("concat", *inputs)
    kernels = kernels_for(inputs[0].data)
    y = kernels.concat([each.data for each in inputs])

    def backward(grad):
        return kernels.concat_grad(grad, [each.shape[-1] for each in inputs])

    return Tensor.from_operation(y, inputs, backward, "concat")
