"""Layers: parameters together with the operation that uses them."""

from minidl.kernels.batchnorm_rules import BATCHNORM_RULES, DARKNET_CPU, OPENCV, STANDARD, BatchNormRule
from minidl.nn.graph import Graph, Node, trace
from minidl.nn.layers import (
    BatchNorm,
    Concat,
    Conv2d,
    Dropout,
    GlobalAveragePool,
    LeakyReLU,
    Linear,
    MaxPool2d,
    Shortcut,
    Upsample,
)
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
    "Concat",
    "Conv2d",
    "Dropout",
    "GlobalAveragePool",
    "Graph",
    "LayerRow",
    "LeakyReLU",
    "Linear",
    "MaxPool2d",
    "Module",
    "Node",
    "Parameter",
    "Sequential",
    "Shortcut",
    "Upsample",
    "layer_table",
    "summary",
    "trace",
]
