"""The kernels on a GPU's arrays, by the names of minidl.kernels.cpu.  Activations are channels last there too."""

from minidl.kernels.cuda.activation import leaky_relu, leaky_relu_grad
from minidl.kernels.cuda.batchnorm import batchnorm_eval, batchnorm_eval_grad, batchnorm_train, batchnorm_train_grad
from minidl.kernels.cuda.concat import concat, concat_grad
from minidl.kernels.cuda.conv import conv2d, conv2d_grad_bias, conv2d_grad_input, conv2d_grad_weight
from minidl.kernels.cuda.elementwise import add, sigmoid, sigmoid_grad, weighted_sum
from minidl.kernels.cuda.linear import linear, linear_grad_input, linear_grad_weight
from minidl.kernels.cuda.losses import (
    bce_with_logits,
    bce_with_logits_grad,
    cross_entropy,
    cross_entropy_grad,
    squared_error,
    squared_error_grad,
)
from minidl.kernels.cuda.optimizers import adam_update, move_towards, sgd_update, unscale
from minidl.kernels.cuda.pool import global_average_pool, global_average_pool_grad, maxpool2d, maxpool2d_grad
from minidl.kernels.cuda.reduce import sum_all, sum_rows
from minidl.kernels.cuda.softmax import log_softmax, log_softmax_grad, softmax, softmax_grad
from minidl.kernels.cuda.upsample import (
    upsample_bilinear,
    upsample_bilinear_grad,
    upsample_nearest,
    upsample_nearest_grad,
)

__all__ = [
    "adam_update",
    "add",
    "batchnorm_eval",
    "batchnorm_eval_grad",
    "batchnorm_train",
    "batchnorm_train_grad",
    "bce_with_logits",
    "bce_with_logits_grad",
    "concat",
    "concat_grad",
    "conv2d",
    "conv2d_grad_bias",
    "conv2d_grad_input",
    "conv2d_grad_weight",
    "cross_entropy",
    "cross_entropy_grad",
    "global_average_pool",
    "global_average_pool_grad",
    "leaky_relu",
    "leaky_relu_grad",
    "linear",
    "linear_grad_input",
    "linear_grad_weight",
    "log_softmax",
    "log_softmax_grad",
    "maxpool2d",
    "maxpool2d_grad",
    "move_towards",
    "sgd_update",
    "sigmoid",
    "sigmoid_grad",
    "softmax",
    "softmax_grad",
    "squared_error",
    "squared_error_grad",
    "sum_all",
    "sum_rows",
    "unscale",
    "upsample_bilinear",
    "upsample_bilinear_grad",
    "upsample_nearest",
    "upsample_nearest_grad",
    "weighted_sum",
]
