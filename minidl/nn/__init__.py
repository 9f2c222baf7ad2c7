"""Layers: parameters together with the operation that uses them."""

from minidl.kernels.batchnorm_rules import BATCHNORM_RULES, DARKNET_CPU, OPENCV, STANDARD, BatchNormRule
from minidl.nn.graph import Node, trace
from minidl.nn.layers import BatchNorm, Conv2d, Dropout, GlobalAveragePool, LeakyReLU, Linear, MaxPool2d, Upsample
from minidl.nn.module import Buffer, Module, Parameter, Sequential
from minidl.nn.summary import LayerRow, layer_table, summary

__all__ = [
    "BATCHNORM_RULES",
    "DARKNET_CPU",
    "OPENCV",
    "STANDARD",
    "BatchNorm",
    "BatchNormRule",
    "Buffer",
    "Conv2d",
    "Dropout",
    "GlobalAveragePool",
    "LayerRow",
    "LeakyReLU",
    "Linear",
    "MaxPool2d",
    "Module",
    "Node",
    "Parameter",
    "Sequential",
    "Upsample",
    "layer_table",
    "summary",
    "trace",
]
