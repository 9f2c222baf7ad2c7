"""The peer PyTorch: our network with the same numbers, as one would write it there.

Images are in the channels-last memory format, which is PyTorch's faster one on a CPU and makes our arrays its own
without a copy.
"""

import numpy as np
import torch
from torch.nn import functional

from minidl import nn
from tests.benchmarks import wiring
from yolov3.blocks import ConvBlock


class TorchDetector(torch.nn.Module):
    """A detector of ours as a PyTorch module; a peer in the sense of :mod:`tests.benchmarks.wiring`.

    Called with images (batch, 3, height, width) it returns one tensor (batch, rows, columns, outputs) per head.
    """

    def __init__(self, model):
        super().__init__()
        self._model = model
        self._theirs = {}  # id of a layer of ours -> theirs
        inside_blocks = set()
        for path, module in model.named_modules():
            if isinstance(module, ConvBlock):
                inside_blocks.add(id(module.conv))
                self._adopt(path, module, _torch_block(module))
            elif isinstance(module, nn.Conv2d) and id(module) not in inside_blocks:
                self._adopt(path, module, _torch_convolution(module))
        self.to(memory_format=torch.channels_last)

    def _adopt(self, path, ours, theirs):
        self.add_module(path.replace(".", "/"), theirs)  # PyTorch wants no dots in a name
        self._theirs[id(ours)] = theirs

    def forward(self, images):
        return [head.permute(0, 2, 3, 1) for head in wiring.run(self._model, images, self)]

    def block(self, block, x):
        return self._theirs[id(block)](x)

    def convolution(self, layer, x):
        return self._theirs[id(layer)](x)

    def add(self, a, b):
        return a + b

    def concat(self, a, b):
        return torch.cat([a, b], dim=1)

    def upsample(self, x):
        return functional.interpolate(x, scale_factor=2, mode="nearest")

    def maxpool(self, x, size, stride):
        missing = size - stride  # places right and below; none at stride 2, because all sides are even
        if missing:
            x = functional.pad(x, (0, missing, 0, missing), value=-torch.inf)
        return functional.max_pool2d(x, size, stride)

    def named_values(self):
        """``(path, tensor)`` of every parameter and running statistic, under the names that they have with us."""
        for name, layer in self.named_children():
            path = name.replace("/", ".")
            if isinstance(layer, torch.nn.Conv2d):
                yield f"{path}.weight", layer.weight
                yield f"{path}.bias", layer.bias
                continue
            convolution, norm, _ = layer
            yield f"{path}.conv.weight", convolution.weight
            yield f"{path}.norm.gamma", norm.weight
            yield f"{path}.norm.beta", norm.bias
            yield f"{path}.norm.running_mean", norm.running_mean
            yield f"{path}.norm.running_variance", norm.running_var


def to_images(images):
    """Our images (batch, height, width, 3) as PyTorch's (batch, 3, height, width), on the same memory."""
    return torch.from_numpy(images).permute(0, 3, 1, 2)


def to_array(tensor):
    """A tensor in our layout: a weight (out, in, height, width) becomes (height, width, in, out)."""
    array = tensor.detach().numpy()
    return array.transpose(2, 3, 1, 0) if array.ndim == 4 else array


def named_gradients(network):
    """``{path: gradient}`` of every parameter after ``backward()``, names and layouts ours."""
    return {path: to_array(value.grad) for path, value in network.named_values() if value.grad is not None}


def _torch_block(block):
    """Convolution, batch norm, leaky ReLU; the last in place, which saves PyTorch an array and a pass."""
    norm = torch.nn.BatchNorm2d(block.norm.gamma.size, eps=block.norm.rule.epsilon, momentum=block.norm.momentum)
    with torch.no_grad():
        norm.weight.copy_(torch.from_numpy(block.norm.gamma.data))
        norm.bias.copy_(torch.from_numpy(block.norm.beta.data))
        norm.running_mean.copy_(torch.from_numpy(block.norm.running_mean.data))
        norm.running_var.copy_(torch.from_numpy(block.norm.running_variance.data))
    leaky = torch.nn.LeakyReLU(block.norm.slope, inplace=True)
    return torch.nn.Sequential(_torch_convolution(block.conv), norm, leaky)


def _torch_convolution(layer):
    size, _, inputs, outputs = layer.weight.shape
    convolution = torch.nn.Conv2d(inputs, outputs, size, layer.stride, layer.padding, bias=layer.bias is not None)
    with torch.no_grad():
        convolution.weight.copy_(torch.from_numpy(np.ascontiguousarray(layer.weight.data.transpose(3, 2, 0, 1))))
        if layer.bias is not None:
            convolution.bias.copy_(torch.from_numpy(layer.bias.data))
    return convolution
