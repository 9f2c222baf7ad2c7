"""Arithmetic on arrays of equal shape on a GPU, a thread per number.  Kernels: ``elementwise.cu``.

Arithmetic that broadcasts is left to the array's own library.
"""

from minidl.device import array_module
from minidl.kernels.cuda.launch import THREADS, Source, blocks_for

SOURCE = Source("elementwise.cu")


def add(a, b):
    """``a + b`` of equal shapes and number types."""
    return _each("add", a, b)


def weighted_sum(a, b, share_a, share_b):
    """``share_a * a + share_b * b`` of equal shapes, in the parameters' number type."""
    return _each("weighted_sum", a, b, numbers=(share_a, share_b))


def sigmoid(x):
    """``1 / (1 + e^-x)`` by ``e^-|x|`` alone, so that nothing overflows; any shape."""
    return _each("sigmoid", x)


def sigmoid_grad(grad, y):
    """``grad * y * (1 - y)``, with the sigmoid's output ``y``."""
    return _each("sigmoid_grad", grad, y)


def _each(kernel, *inputs, numbers=()):
    """One launch over all numbers of arrays of one shape; the result's type is the first one's."""
    xp = array_module(inputs[0])
    y = xp.empty(inputs[0].shape, inputs[0].dtype)
    inputs = [xp.ascontiguousarray(each) for each in inputs]
    SOURCE.launch(kernel, blocks_for(y.size), THREADS, *inputs, y, *numbers, y.size)
    return y
