"""The program of a fused network on the CPU: calls on arrays that are there already, block by block."""

import threading
from functools import partial

import numpy as np

from minidl import nn
from minidl.inference.groups import Convolution, group
from minidl.inference.layout import Border, Layout
from minidl.kernels.cpu.choice import choose
from minidl.kernels.cpu.epilogue import Epilogue
from minidl.kernels.cpu.fused_conv import WindowConvolution
from minidl.kernels.cpu.parallel import one_blas_thread
from minidl.kernels.cpu.upsample import upsample_nearest_into
from minidl.kernels.cpu.winograd import WinogradConvolution, padded_size, transform_kernel
from minidl.nn.graph import IMAGES
from minidl.tensor import Tensor, no_grad


class CpuProgram:
    """The operations for images of one shape, (batch, height, width, channels), and free workspaces for them.

    ``weights``: those made so far for other shapes, ``{_weight_key: array}``; new ones are added.
    """

    def __init__(self, model, shape, *, settings, weights):
        graph = nn.trace(model, shape[1:])
        self.returns_tuple, self.outputs = graph.returns_tuple, graph.outputs
        self.operations, self.weights, self.shape = group(graph), weights, shape
        convolutions = [each for each in self.operations if isinstance(each, Convolution)]
        self.dtype = convolutions[0].layer.weight.dtype if convolutions else np.dtype(np.float32)
        self.ways = {each.output: self._choose(each, settings) for each in convolutions}
        self.borders = {each.output: _border(each, self.ways[each.output]) for each in convolutions}
        self.layout = Layout(self.operations, self.outputs, shape, self.borders, settings)
        self.epilogues = {each.output: self._prepare(each) for each in convolutions}
        self._free, self._count, self._lock = [], 0, threading.Lock()

    def _choose(self, convolution, settings):
        layer, output = convolution.layer, (self.shape[0], *convolution.output_shape)
        return choose(layer.weight.shape, layer.stride, layer.padding, output, settings)

    def _prepare(self, convolution):
        """Make the weights in the form that its way needs; returns the epilogue."""
        weight, bias = convolution.folded()
        way = self.ways[convolution.output]
        key = _weight_key(convolution, way)
        if key not in self.weights:
            tiled = way.tile is not None
            self.weights[key] = (
                transform_kernel(weight, way.tile, way.filters_at_once) if tiled else np.ascontiguousarray(weight)
            )
        return Epilogue(bias, convolution.slope, convolution.final_slope)

    def run(self, images):
        """The arrays that the network returns."""
        with self._lock:
            workspace = self._free.pop() if self._free else None
            self._count += workspace is None
        if workspace is None:
            workspace = _Workspace(self)
        try:
            return workspace.run(images)
        finally:
            with self._lock:
                self._free.append(workspace)

    def buffer_bytes(self):
        _, arrays = self.layout.assign()
        return self._count * sum(self.dtype.itemsize * numbers for numbers, _ in arrays)


def _weight_key(convolution, way):
    return convolution.output, way.tile, way.filters_at_once


def _border(convolution, way):
    """The zeros that a convolution needs around its source; tiles may reach further than windows."""
    layer, (height, width, _) = convolution.layer, convolution.input_shape
    if way.tile is None:
        return Border(*[layer.padding] * 4)
    needed = padded_size((height, width), way.tile)
    return Border(1, needed[0] - 1 - height, 1, needed[1] - 1 - width)


class _Workspace:
    """The buffers of a program, and its operations bound to them."""

    def __init__(self, program):
        self._program, layout = program, program.layout
        array_of, arrays = layout.assign()
        make = [np.empty if border is None else np.zeros for _, border in arrays]
        flat = [create(numbers, program.dtype) for create, (numbers, _) in zip(make, arrays, strict=True)]
        self._buffers = []  # with their borders
        for array, shape, border in zip(array_of, layout.shapes, layout.borders, strict=True):
            around = border.around(shape)
            self._buffers.append(flat[array][: int(np.prod(around))].reshape(around))
        self._calls = [call for each in program.operations for call in self._bind(each)]

    def run(self, images):
        np.copyto(self._map(IMAGES, self._program.shape[1:]), images)
        with one_blas_thread, no_grad():
            for call in self._calls:
                call()
        shapes = {each.output: each.output_shape for each in self._program.operations}
        shapes[IMAGES] = self._program.shape[1:]
        return [self._map(number, shapes[number]).copy() for number in self._program.outputs]

    def _map(self, number, shape):
        """The array of a map, without border; or of a vector per image."""
        place = self._program.layout.places[number]
        border, buffer = self._program.layout.borders[place.buffer], self._buffers[place.buffer]
        channels = slice(place.first_channel, place.first_channel + shape[-1])
        if len(shape) == 1:
            return buffer[:, channels]
        rows = slice(border.top, border.top + shape[0])
        columns = slice(border.left, border.left + shape[1])
        return buffer[:, rows, columns, channels]

    def _bind(self, operation):
        """The calls of an operation."""
        if isinstance(operation, Convolution):
            yield from self._bind_convolution(operation)
            return
        target = self._map(operation.output, operation.output_shape)
        shapes = zip(operation.sources, operation.input_shapes, strict=True)
        sources = [self._map(source, shape) for source, shape in shapes]
        module = operation.module
        if isinstance(module, nn.Concat):
            yield from _copies(sources, target)
        elif isinstance(module, nn.Upsample) and module.mode == "nearest":
            yield partial(upsample_nearest_into, sources[0], module.factor, target)
        else:
            yield lambda: np.copyto(target, module(*map(Tensor, sources)).data)

    def _bind_convolution(self, convolution):
        program, layer = self._program, convolution.layer
        way = program.ways[convolution.output]
        if convolution.output in program.layout.padded:
            source = self._map(convolution.source, convolution.input_shape)
            padded = self._buffers[program.layout.padded[convolution.output]]
            yield partial(_copy_into_border, source, padded, program.borders[convolution.output])
        else:  # its border is there already, above and left exactly the one needed
            place = program.layout.places[convolution.source]
            padded = self._buffers[place.buffer]
            padded = padded[..., place.first_channel : place.first_channel + convolution.input_shape[2]]
        target = self._map(convolution.output, convolution.output_shape)
        residual = None
        if convolution.residual is not None:
            residual = self._map(convolution.residual, convolution.output_shape)
        weight, epilogue = program.weights[_weight_key(convolution, way)], program.epilogues[convolution.output]
        if way.tile is None:
            bound = WindowConvolution(padded, weight, layer.stride, target, epilogue, residual)
        else:
            bound = WinogradConvolution(padded, weight, way.tile, target, epilogue, residual)
        yield partial(bound.by_weights if way.shared else bound.by_rows, way.at_once)


def _copy_into_border(source, padded, border):
    """The map into a buffer whose border is zero."""
    _, height, width, _ = source.shape
    np.copyto(padded[:, border.top : border.top + height, border.left : border.left + width], source)


def _copies(sources, target):
    """Calls that bring to a concatenation what is not there already."""
    channel = 0
    for source in sources:
        part = target[..., channel : channel + source.shape[-1]]
        channel += source.shape[-1]
        if part.__array_interface__["data"] != source.__array_interface__["data"] or part.strides != source.strides:
            yield partial(np.copyto, part, source)
