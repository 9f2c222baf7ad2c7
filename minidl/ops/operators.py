"""Operators and methods of Tensor: ``a + b``, ``a @ b``, ``a[0]``, ``a.sum()`` are the functions of this package.

They are attached from here, so that the tensor itself knows of no operation.
"""

from minidl.ops.activation import log_softmax, sigmoid, softmax
from minidl.ops.arithmetic import add, clip, divide, exp, log, multiply, negative, power, sqrt, subtract
from minidl.ops.linear import matmul
from minidl.ops.reduction import max_value, mean, sum_value
from minidl.ops.shape import reshape, take, transpose
from minidl.tensor import Tensor


def install():
    """Give Tensor its operators and methods."""
    Tensor.__add__ = add
    Tensor.__radd__ = lambda self, other: add(other, self)
    Tensor.__sub__ = subtract
    Tensor.__rsub__ = lambda self, other: subtract(other, self)
    Tensor.__mul__ = multiply
    Tensor.__rmul__ = lambda self, other: multiply(other, self)
    Tensor.__truediv__ = divide
    Tensor.__rtruediv__ = lambda self, other: divide(other, self)
    Tensor.__neg__ = negative
    Tensor.__pow__ = power
    Tensor.__matmul__ = matmul
    Tensor.__rmatmul__ = lambda self, other: matmul(other, self)
    Tensor.__getitem__ = take
    Tensor.exp = exp
    Tensor.log = log
    Tensor.sqrt = sqrt
    Tensor.clip = clip
    Tensor.sigmoid = sigmoid
    Tensor.softmax = softmax
    Tensor.log_softmax = log_softmax
    Tensor.sum = sum_value
    Tensor.mean = mean
    Tensor.max = max_value
    Tensor.reshape = reshape
    Tensor.transpose = transpose
