"""The kernels on NumPy arrays.  Activations are (batch, height, width, channels): channels last."""

from minidl.kernels.cpu.activation import leaky_relu, leaky_relu_grad
from minidl.kernels.cpu.batchnorm import batchnorm_eval, batchnorm_eval_grad, batchnorm_train, batchnorm_train_grad
from minidl.kernels.cpu.concat import concat, concat_grad
from minidl.kernels.cpu.conv import conv2d, conv2d_grad_bias, conv2d_grad_input, conv2d_grad_weight
from minidl.kernels.cpu.pool import global_average_pool, global_average_pool_grad, maxpool2d, maxpool2d_grad
from minidl.kernels.cpu.upsample import (
    upsample_bilinear,
    upsample_bilinear_grad,
    upsample_nearest,
    upsample_nearest_grad,
)

__all__ = [
    "batchnorm_eval",
    "batchnorm_eval_grad",
    "batchnorm_train",
    "batchnorm_train_grad",
    "concat",
    "concat_grad",
    "conv2d",
    "conv2d_grad_bias",
    "conv2d_grad_input",
    "conv2d_grad_weight",
    "global_average_pool",
    "global_average_pool_grad",
    "leaky_relu",
    "leaky_relu_grad",
    "maxpool2d",
    "maxpool2d_grad",
    "upsample_bilinear",
    "upsample_bilinear_grad",
    "upsample_nearest",
    "upsample_nearest_grad",
]
