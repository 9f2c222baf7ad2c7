"""Softmax and its logarithm along the last axis on a GPU, a warp per row (notes H1).  Kernels: ``softmax.cu``."""

from minidl.device import array_module
from minidl.kernels.cuda.launch import THREADS, Source, blocks_for

SOURCE = Source("softmax.cu")
ROWS_OF_BLOCK = THREADS // 32


def softmax(x):
    """``e^x / sum(e^x)``: (..., columns)."""
    return _rows("softmax", x)


def softmax_grad(grad, y):
    """``y * (grad - sum(grad * y))``, with the output ``y``."""
    return _rows("softmax_grad", grad, y)


def log_softmax(x):
    """``x - log(sum(e^x))``: (..., columns)."""
    return _rows("log_softmax", x)


def log_softmax_grad(grad, y):
    """``grad - e^y * sum(grad)``, with the output ``y``."""
    return _rows("log_softmax_grad", grad, y)


def _rows(kernel, *inputs):
    xp = array_module(inputs[0])
    inputs = [xp.ascontiguousarray(each) for each in inputs]
    result = xp.empty(inputs[0].shape, inputs[0].dtype)
    columns = result.shape[-1]
    rows = result.size // max(1, columns)
    SOURCE.launch(kernel, blocks_for(rows, ROWS_OF_BLOCK), THREADS, *inputs, result, rows, columns)
    return result
