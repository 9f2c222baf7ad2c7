"""Differentiable operations: the one place where tensors and kernels meet.

Each operation computes its output and hands :meth:`Tensor.from_operation` a function from the output's
gradient to the inputs' gradients.  Importing this package also gives tensors their operators and methods.
"""

from minidl.ops.activation import leaky_relu, log_softmax, sigmoid, softmax
from minidl.ops.arithmetic import add, cast, clip, divide, exp, log, multiply, negative, power, sqrt, subtract
from minidl.ops.batchnorm import batchnorm
from minidl.ops.concat import concat
from minidl.ops.conv import conv2d
from minidl.ops.linear import linear, matmul
from minidl.ops.loss import bce_with_logits, cross_entropy, squared_error
from minidl.ops.operators import install
from minidl.ops.pool import global_average_pool, maxpool2d
from minidl.ops.reduction import max_value, mean, sum_value
from minidl.ops.shape import reshape, take, transpose
from minidl.ops.shortcut import shortcut
from minidl.ops.upsample import upsample

install()

__all__ = [
    "add",
    "batchnorm",
    "bce_with_logits",
    "cast",
    "clip",
    "concat",
    "conv2d",
    "cross_entropy",
    "divide",
    "exp",
    "global_average_pool",
    "leaky_relu",
    "linear",
    "log",
    "log_softmax",
    "matmul",
    "max_value",
    "maxpool2d",
    "mean",
    "multiply",
    "negative",
    "power",
    "reshape",
    "shortcut",
    "sigmoid",
    "softmax",
    "sqrt",
    "squared_error",
    "subtract",
    "sum_value",
    "take",
    "transpose",
    "upsample",
]
