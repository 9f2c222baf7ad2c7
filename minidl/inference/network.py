"""The network that ``fuse`` makes: for each shape of images a list of calls on arrays that are there already."""

import threading
from copy import deepcopy
from functools import partial

from minidl import nn
from minidl.inference.cpu_program import CpuProgram
from minidl.inference.device_program import DeviceProgram
from minidl.kernels.cpu.choice import FuseSettings
from minidl.kernels.cpu.parallel import get_num_threads
from minidl.tensor import Tensor

PRECISIONS = ("fp32", "tf32", "fp16")
MOST_PROGRAMS = 8


def fuse(model, settings=None, precision="fp32"):
    """A :class:`FusedNetwork` of the model as it is now, on the device where its parameters are.

    Later changes of the model do not reach it.

    Parameters
    ----------
    settings: :class:`minidl.inference.FuseSettings` for the CPU, all tricks by default
    precision: on a GPU, ``fp32``; ``tf32`` rounds what convolutions multiply to 10 bits, for tensor cores; ``fp16``
        also keeps maps and weights in half precision (what the network returns is float32 all the same)

    Raises ValueError for ``tf32`` or ``fp16`` on the CPU.
    """
    return FusedNetwork(model, settings or FuseSettings(), precision)


class FusedNetwork(nn.Module):
    """A network in evaluation mode, made ready for speed: called like the model, with equal results up to rounding.

    It is laid out for a shape of images when that comes for the first time, and keeps the buffers of the last
    MOST_PROGRAMS shapes; weights in all forms needed stay.  Several Python threads may call it at once: on the CPU each
    gets buffers of its own, on a GPU they take turns.

    There are no gradients.  Raises ValueError where the network is not made of layers (:func:`minidl.nn.trace`).
    """

    def __init__(self, model, settings, precision="fp32"):
        self._device = model.device
        if precision not in PRECISIONS or (self.device == "cpu" and precision != "fp32"):
            raise ValueError(f"precision {precision!r} is not possible on {self.device}: use fp32")
        self._weights = {}  # of all programs, by keys of theirs
        frozen = deepcopy(model).eval()  # training the model does not change it
        frozen.zero_grad()  # gradients would only take memory
        # It is no attribute, so that its layers do not count as ours.
        if self.device == "cpu":
            self._lay_out = partial(CpuProgram, frozen, settings=settings, weights=self._weights)
        else:
            frozen.to("cpu")  # where it is traced and folded; what the program needs goes back once
            self._lay_out = partial(
                DeviceProgram, frozen, device=self.device, precision=precision, weights=self._weights
            )
        self._programs = {}  # {(shape of the images, number of threads): program}
        self._lock = threading.Lock()

    @property
    def device(self):
        """Where it computes, and where images must be: ``cpu``, ``cuda`` or ``emulated``."""
        return self._device

    def forward(self, images):
        if images.device != self._device:
            raise ValueError(
                f"the images lie on the device {images.device}, the network on {self._device}; "
                "move them with minidl.device.to_device(array, device)"
            )
        program = self._program(images.shape)
        heads = tuple(Tensor(head) for head in program.run(images.data))
        return heads if program.returns_tuple else heads[0]

    def _program(self, shape):
        key = shape, get_num_threads() if self.device == "cpu" else None
        with self._lock:
            if key not in self._programs:
                if len(self._programs) == MOST_PROGRAMS:
                    del self._programs[next(iter(self._programs))]  # the oldest
                self._programs[key] = self._lay_out(shape)
            return self._programs[key]

    def memory(self):
        """Bytes of the weights in all their forms, and of the buffers: ``{"weights": ..., "buffers": ...}``."""
        with self._lock:
            weights = sum(array.nbytes for array in self._weights.values())
            return {"weights": weights, "buffers": sum(each.buffer_bytes() for each in self._programs.values())}

    def ways(self, shape):
        """On the CPU, how each convolution goes for images of this shape: ``[(Convolution, Way)]``.

        A GPU's kernels choose for themselves, when they are called.
        """
        program = self._program(shape)
        return [(each, program.ways[each.output]) for each in program.operations if each.output in program.ways]

    def uncaptured(self, shape):
        """On a GPU, the layers that keep a program for this shape from being one CUDA graph: their classes' names.

        With none, a forward pass for images of this shape is a single launch.
        """
        return self._program(shape).uncaptured
