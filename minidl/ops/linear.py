"""Matrix products."""

from minidl.ops.arithmetic import tensors, unbroadcast
from minidl.tensor import Tensor


def matmul(a, b):
    """``a @ b`` for matrices, with leading axes broadcast.

    From ``y = a b``: ``da = dy b^T`` and ``db = a^T dy``.  Raises ValueError where an operand has fewer than two axes.
    """
    a, b = tensors(a, b)
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
    """
    if x.shape[-1] != weight.shape[0]:
        raise ValueError(f"linear: the input has {x.shape[-1]} features, the weight expects {weight.shape[0]}")
    y = matmul(x, weight)
    return y if bias is None else y + bias
