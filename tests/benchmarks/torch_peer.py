"""The peer PyTorch: the network, the loss and the training step as one would write them there.

Images are in the channels-last memory format, which is PyTorch's faster one on a CPU and makes our arrays its own
without a copy.
"""

import torch
from torch.nn import functional

from tests.benchmarks import wiring
from yolov3.blocks import ConvBlock

LARGEST_EXPONENT = 15.0


class TorchDetector(torch.nn.Module):
    """A detector of ours as a PyTorch module with the same numbers.

    Called with images (batch, 3, height, width) it returns one tensor (batch, rows, columns, outputs) per head.
    """

    def __init__(self, model):
        super().__init__()
        self._model = model
        self._of = {}  # id of our layer -> theirs
        for path, module in model.named_modules():
            if isinstance(module, ConvBlock):
                self._adopt(path, module, _block(module))
        for convolution in output_convolutions(model):
            path = next(path for path, module in model.named_modules() if module is convolution)
            self._adopt(path, convolution, _convolution(convolution))
        self.to(memory_format=torch.channels_last)

    def _adopt(self, path, ours, theirs):
        self.add_module(path.replace(".", "/"), theirs)
        self._of[id(ours)] = theirs

    def forward(self, images):
        heads = wiring.run(self._model, images, self)
        return [head.permute(0, 2, 3, 1) for head in heads]

    def block(self, block, x):
        return self._of[id(block)](x)

    convolution = block

    def add(self, a, b):
        return a + b

    def concat(self, a, b):
        return torch.cat([a, b], dim=1)

    def upsample(self, x):
        return functional.interpolate(x, scale_factor=2, mode="nearest")

    def maxpool(self, x, size, stride):
        missing = size - stride  # sides are even, so that a stride of 2 fits without a frame
        if missing:
            x = functional.pad(x, (0, missing, 0, missing), value=-torch.inf)
        return functional.max_pool2d(x, size, stride)

    def layers(self):
        """``(path, tensor)`` of every parameter and running statistic, under the names that they have with us."""
        for path, module in self.named_children():
            path = path.replace("/", ".")
            if isinstance(module, torch.nn.Conv2d):
                yield f"{path}.weight", module.weight
                yield f"{path}.bias", module.bias
                continue
            convolution, norm, _ = module
            yield f"{path}.conv.weight", convolution.weight
            yield f"{path}.norm.gamma", norm.weight
            yield f"{path}.norm.beta", norm.bias
            yield f"{path}.norm.running_mean", norm.running_mean
            yield f"{path}.norm.running_variance", norm.running_var


def output_convolutions(model):
    """Our convolutions outside of ConvBlocks: the outputs of the heads."""
    inside = {id(block.conv) for _, block in model.named_modules() if isinstance(block, ConvBlock)}
    return [
        module
        for _, module in model.named_modules()
        if hasattr(module, "padding") and hasattr(module, "weight") and id(module) not in inside
    ]
