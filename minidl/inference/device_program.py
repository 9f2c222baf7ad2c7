"""The program of a fused network on a GPU: all its kernels, recorded once as a CUDA graph and then launched as one.

A forward pass at batch 1 is some 75 kernels of a few microseconds each; launching them one by one from Python takes
longer than they run.  A CUDA graph is the recording of these launches, with the addresses of their arrays, so all maps
have their place for good: images are copied in, the graph is launched, and what the network returns is copied out.
"""

import threading
from copy import deepcopy
from functools import partial

import numpy as np

from minidl import nn
from minidl.device import array_library, to_device
from minidl.inference.groups import Convolution, group
from minidl.inference.layout import NO_BORDER, Layout
from minidl.kernels.cpu.choice import FuseSettings
from minidl.kernels.cuda.activation import add_into
from minidl.kernels.cuda.concat import copy_into
from minidl.kernels.cuda.conv import conv2d_into, conv2d_workspace
from minidl.kernels.cuda.conv_shape import Epilogue
from minidl.kernels.cuda.pool import maxpool2d_into
from minidl.kernels.cuda.settings import cuda_settings, current
from minidl.kernels.cuda.upsample import upsample_nearest_into
from minidl.kernels.shapes import pair
from minidl.nn.graph import IMAGES
from minidl.tensor import Tensor, no_grad


class DeviceProgram:
    """The operations for images of one shape, (batch, height, width, channels), on one set of buffers.

    Parameters
    ----------
    model: on the CPU, in evaluation mode
    device: ``cuda`` or ``emulated``
    precision: as for :func:`minidl.inference.fuse`
    weights: those made so far for other shapes, by the number of the output; new ones are added

    Attributes: outputs, returns_tuple: of the network; uncaptured: the classes of layers that have no kernel for given
    places.  Such a layer takes fresh memory, which a graph cannot: with one of them, kernels are launched one by one.
    """

    def __init__(self, model, shape, *, device, precision, weights):
        graph = nn.trace(model, shape[1:])
        self.returns_tuple, self.outputs = graph.returns_tuple, graph.outputs
        self.operations, self.shape, self.device = group(graph), shape, device
        convolutions = [each for each in self.operations if isinstance(each, Convolution)]
        real = convolutions[0].layer.weight.dtype if convolutions else np.dtype(np.float32)
        self._storage, self._real = np.dtype(np.float16) if precision == "fp16" else real, real
        products = "tf32" if precision == "tf32" else "fp32"
        self._settings = partial(cuda_settings, precision=products, convolution=current().convolution)
        self._weights = weights
        self._buffers, self._places = self._make_buffers()
        self._workspace = self._make_workspace(convolutions)
        self._shapes = {IMAGES: shape[1:]} | {each.output: each.output_shape for each in self.operations}
        self.uncaptured = []
        self._calls = [call for each in self.operations for call in self._bind(each)]
        self._graph = None
        self._lock = threading.Lock()
        self._finished = self._xp.cuda.Event(disable_timing=True)
        self._xp.cuda.get_current_stream().synchronize()  # the weights have arrived, for whichever stream comes first

    @property
    def _xp(self):
        return array_library(self.device)

    def run(self, images):
        """The arrays that the network returns, as arrays of the caller's own."""
        stream = self._xp.cuda.get_current_stream()
        with self._lock, no_grad(), self._settings():
            if self._graph is None and not self.uncaptured:
                self._graph = self._capture()
            stream.wait_event(self._finished)  # the last run may have been in another thread's stream
            self._map(IMAGES)[...] = images
            if self.uncaptured:
                self._run_calls()
            else:
                self._graph.launch(stream)
            outputs = [self._copied_out(number) for number in self.outputs]
            self._finished.record(stream)
        return outputs

    def _run_calls(self):
        for call in self._calls:
            call()

    def _capture(self):
        """The graph of all calls."""
        stream = self._xp.cuda.Stream(non_blocking=True)  # the default stream cannot be recorded
        with stream:
            self._run_calls()  # compiles and loads every kernel, which must not happen while they are recorded
            stream.synchronize()
            stream.begin_capture()
            try:
                self._run_calls()
            finally:
                graph = stream.end_capture()
        return graph

    def _copied_out(self, number):
        found = self._map(number)
        own = self._xp.empty(found.shape, self._real)
        own[...] = found
        return own

    def buffer_bytes(self):
        return sum(each.nbytes for each in self._arrays)

    # ---------------------------------------------------------------- places

    def _make_buffers(self):
        """(buffers, places): maps that are joined are slices of one buffer; buffers share arrays in turns."""
        borders = dict.fromkeys((each.output for each in self.operations), NO_BORDER)  # kernels check for the edge
        settings = FuseSettings(keep_borders=False)
        layout = Layout(self.operations, self.outputs, self.shape, borders, settings)
        array_of, arrays = layout.assign()
        self._arrays = [self._xp.empty(numbers, self._storage) for numbers, _ in arrays]
        shaped = zip(array_of, layout.shapes, strict=True)
        buffers = [self._arrays[array][: int(np.prod(shape))].reshape(shape) for array, shape in shaped]
        return buffers, layout.places

    def _make_workspace(self, convolutions):
        """One array for the partial sums of whichever convolution runs; None where no sum is split."""
        with self._settings():
            needed = [self._workspace_numbers(each) for each in convolutions]
        return self._xp.empty(max(needed), self._real) if any(needed) else None

    def _workspace_numbers(self, convolution):
        shape, weight_shape = (self.shape[0], *convolution.input_shape), convolution.layer.weight.shape
        return conv2d_workspace(shape, weight_shape, *_stride_and_padding(convolution.layer), self._storage)

    def _map(self, number):
        """The array of a map, (batch, height, width, channels), or of a vector per image."""
        place = self._places[number]
        first, channels = place.first_channel, self._shapes[number][-1]
        return self._buffers[place.buffer][..., first : first + channels]

    # ---------------------------------------------------------------- operations

    def _bind(self, operation):
        """The calls of an operation, on its maps."""
        if isinstance(operation, Convolution):
            yield self._bind_convolution(operation)
            return
        module, target = operation.module, self._map(operation.output)
        sources = [self._map(source) for source in operation.sources]
        if isinstance(module, nn.Concat):
            yield from self._bind_concat(operation, sources, target)
        elif isinstance(module, nn.Upsample) and module.mode == "nearest":
            yield partial(upsample_nearest_into, sources[0], module.factor, target)
        elif isinstance(module, nn.MaxPool2d):
            yield partial(maxpool2d_into, sources[0], module.size, module.stride, module.padding, target)
        elif isinstance(module, nn.Shortcut) and sources[0].shape == sources[1].shape:
            yield partial(add_into, *map(_as_map, sources), _as_map(target), module.slope)
        else:
            self.uncaptured.append(type(module).__name__)
            yield partial(_run_layer, deepcopy(module).to(self.device), sources, target)

    def _bind_convolution(self, convolution):
        weight, bias = self._folded(convolution)
        residual = None if convolution.residual is None else self._map(convolution.residual)
        epilogue = Epilogue(bias, convolution.slope, residual, convolution.final_slope)
        source, target = self._map(convolution.source), self._map(convolution.output)
        places = *_stride_and_padding(convolution.layer), target
        return partial(conv2d_into, source, weight, *places, epilogue, self._workspace)

    def _folded(self, convolution):
        """(weight, bias) on the device, with the batch norm in them; the bias in the type that sums are in."""
        keys = (convolution.output, "weight"), (convolution.output, "bias")
        if keys[0] not in self._weights:
            weight, bias = convolution.folded()
            self._weights[keys[0]] = to_device(weight.astype(self._storage), self.device)
            self._weights[keys[1]] = to_device(bias.astype(self._real), self.device)
        return self._weights[keys[0]], self._weights[keys[1]]

    def _bind_concat(self, operation, sources, target):
        """Copies of what was not written into its place of the concatenation at once."""
        channel = 0
        for number, source in zip(operation.sources, sources, strict=True):
            place, own = self._places[operation.output], self._places[number]
            if (own.buffer, own.first_channel) != (place.buffer, place.first_channel + channel):
                part = target[..., channel : channel + source.shape[-1]]
                yield partial(copy_into, _as_map(source), _as_map(part))
            channel += source.shape[-1]


def _stride_and_padding(layer):
    return pair(layer.stride, "stride", least=1), pair(layer.padding, "padding")


def _as_map(array):
    """A map as it is; vectors (batch, channels) as maps of one pixel."""
    return array if array.ndim == 4 else array[:, None, None]


def _run_layer(module, sources, target):
    target[...] = module(*map(Tensor, sources)).data
