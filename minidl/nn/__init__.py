"""Layers: parameters together with the operation that uses them."""

from minidl.nn.layers import BatchNorm, Conv2d, GlobalAveragePool, LeakyReLU, Linear, MaxPool2d, Upsample
from minidl.nn.module import Buffer, Module, Parameter, Sequential
from minidl.nn.summary import LayerRow, layer_table, summary

__all__ = [
    "BatchNorm",
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
