"""Layers: parameters together with the operation that uses them."""

from minidl.kernels.batchnorm_rules import BATCHNORM_RULES, DARKNET_CPU, STANDARD, BatchNormRule
from minidl.nn.layers import BatchNorm, Conv2d, GlobalAveragePool, LeakyReLU, Linear, MaxPool2d, Upsample
from minidl.nn.module import Buffer, Module, Parameter, Sequential
from minidl.nn.summary import LayerRow, layer_table, summary

__all__ = [
    "BATCHNORM_RULES",
    "DARKNET_CPU",
    "STANDARD",
    "BatchNorm",
    "BatchNormRule",
    "Buffer",
    "Conv2d",
    "GlobalAveragePool",
    "LayerRow",
    "LeakyReLU",
    "Linear",
    "MaxPool2d",
    "Module",
    "Parameter",
    "Sequential",
    "Upsample",
    "layer_table",
    "summary",
]
