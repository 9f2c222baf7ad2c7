"""Matrix products.  Kernels: ``linear``, ``linear_grad_input``, ``linear_grad_weight``, ``sum_rows``."""

from minidl.device import kernels_for
from minidl.ops.arithmetic import tensors, unbroadcast
from minidl.ops.devices import check_devices
from minidl.tensor import Tensor


def matmul(a, b):
    """``a @ b`` for matrices, with leading axes broadcast.

    From ``y = a b``: ``da = dy b^T`` and ``db = a^T dy``.  Raises ValueError where an operand has fewer than two axes.
    """
    a, b = tensors(a, b, "matmul")
    if a.ndim < 2 or b.ndim < 2:
        raise ValueError(
            f"matmul needs matrices, not the shapes {a.shape} and {b.shape}; reshape vectors to a row or column"
        )

    def backward(grad):
        grad_a = unbroadcast(grad @ b.data.swapaxes(-1, -2), a.shape) if a.requires_grad else None
        grad_b = unbroadcast(a.data.swapaxes(-1, -2) @ grad, b.shape) if b.requires_grad else None
        return grad_a, grad_b

    return Tensor.from_operation(a.data @ b.data, (a, b), backward, "matmul")


def linear(x, weight, bias=None):
    """Fully connected layer ``x @ weight + bias``: (batch, inputs) -> (batch, outputs).

    weight: (inputs, outputs); bias: (outputs,) or None.  Raises ValueError where the inputs do not agree.

    Backward as for a product of matrices; the bias, added to every row, collects from every row.  Saved: x and weight.
    """
    if x.ndim != 2 or x.shape[1] != weight.shape[0]:
        raise ValueError(
            f"linear: the weight {weight.shape} needs an input (batch, {weight.shape[0]} features), not {x.shape}"
        )
    check_devices("linear", x, weight, bias)
    kernels = kernels_for(x.data)

    def backward(grad):
        grad_x = kernels.linear_grad_input(grad, weight.data) if x.requires_grad else None
        grad_weight = kernels.linear_grad_weight(x.data, grad) if weight.requires_grad else None
        return (grad_x, grad_weight) if bias is None else (grad_x, grad_weight, kernels.sum_rows(grad))

    y = kernels.linear(x.data, weight.data, None if bias is None else bias.data)
    parents = (x, weight) if bias is None else (x, weight, bias)
    return Tensor.from_operation(y, parents, backward, "linear")
