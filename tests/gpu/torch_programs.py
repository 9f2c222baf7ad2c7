"""The peer PyTorch on a GPU: our network with the same numbers, in its fastest ways to compute."""

import time

import torch

from tests.benchmarks import torch_loss
from tests.benchmarks.torch_peer import TorchDetector, to_images
from tests.gpu.timing import free_memory, take_turns

LAYOUTS = {"channels last": torch.channels_last, "contiguous": torch.contiguous_format}
LEARNING_RATE = 1e-3


def use_precision(precision):
    """Set PyTorch's switches: without TF32 it computes in float32, with it as it trains by default on convolutions."""
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = precision == "tf32"
    torch.backends.cudnn.benchmark = True  # cuDNN tries its ways at the first call and takes the fastest


def _network(model, layout, device, compiled):
    """(network, the same or what torch.compile makes of it in the mode ``compiled``, unless that is None)."""
    network = TorchDetector(model).to(device, memory_format=LAYOUTS[layout])
    # As a graph of PyTorch's own layers it holds nothing that torch.compile cannot follow.
    return network, torch.compile(torch.fx.symbolic_trace(network), mode=compiled) if compiled else network


class TorchForward:
    """A forward pass; called, it returns the heads, tensors (batch, rows, columns, outputs) on the device.

    model: ours, on the CPU; images: a NumPy array (batch, height, width, 3); precision: ``fp32``, ``tf32`` or ``fp16``
    (all of the network in float16); layout: in LAYOUTS.
    """

    def __init__(self, model, images, precision, layout, device, compiled=None):
        self._precision, dtype = precision, torch.float16 if precision == "fp16" else torch.float32
        network, self._run = _network(model, layout, device, compiled)
        network.eval().to(dtype)
        self._images = to_images(images).to(device, dtype).contiguous(memory_format=LAYOUTS[layout])

    def __call__(self):
        use_precision(self._precision)
        with torch.inference_mode():
            return self._run(self._images)

    def recorded(self):
        """A function that launches a CUDA graph of this forward pass."""
        stream = torch.cuda.Stream()
        with torch.cuda.stream(stream):
            for _ in range(3):
                self()
        stream.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self._outputs = self()
        return graph.replay


class TorchStep:
    """A training step: forward, loss, backward, Adam's update; called, it returns the loss before it.

    precision ``fp16`` is PyTorch's automatic mixed precision with loss scaling.
    """

    def __init__(self, model, batch, precision, layout, device, compiled=None):
        self._precision, self._device = precision, device
        network, self._run = _network(model, layout, device, compiled)
        network.train()
        self._images = to_images(batch.images).to(device).contiguous(memory_format=LAYOUTS[layout])
        self._truths = torch.from_numpy(batch.truths).to(device)
        self._anchors = [torch.from_numpy(group).to(device) for group in model.anchors]
        self._strides = model.strides
        self._optimizer = torch.optim.Adam(network.parameters(), LEARNING_RATE, fused=True)  # its fastest
        self._scaler = torch.amp.GradScaler(device, enabled=precision == "fp16")

    def __call__(self):
        use_precision(self._precision)
        with torch.autocast(self._device, torch.float16, enabled=self._precision == "fp16"):
            heads = self._run(self._images)
        with torch.device(self._device):  # where the loss makes its small tensors
            heads = [head.float() for head in heads]
            loss = torch_loss.yolo_loss(heads, self._truths, self._anchors, self._strides)
        self._optimizer.zero_grad()
        self._scaler.scale(loss).backward()
        self._scaler.step(self._optimizer)
        self._scaler.update()
        return loss.item()


def fastest_layout(make, device):
    """The layout for which ``make(layout)``, a program, takes the least time.  Raises RuntimeError if both fail."""
    best, errors = {}, {}
    for layout in LAYOUTS:
        seconds, failed = take_turns({layout: make(layout)}, device, 3, time.monotonic() + 5)
        free_memory(device)
        errors |= failed
        best |= {name: min(each) for name, each in seconds.items()}
    if not best:
        raise RuntimeError("; ".join(errors.values()))
    fastest = min(best, key=best.get)
    print(f"PyTorch's faster layout: {fastest}", flush=True)
    return fastest
