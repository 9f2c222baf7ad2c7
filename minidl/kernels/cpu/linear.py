"""The fully connected layer on NumPy arrays: products of matrices."""


def linear(x, weight, bias):
    """``x @ weight + bias``: (count, inputs), (inputs, outputs) -> (count, outputs); bias (outputs,) or None."""
    y = x @ weight
    if bias is not None:
        y += bias
    return y


def linear_grad_input(grad, weight):
    """``grad @ weight^T``: (count, outputs) -> (count, inputs)."""
    return grad @ weight.T


def linear_grad_weight(x, grad):
    """``x^T @ grad``: (inputs, outputs)."""
    return x.T @ grad
