"""This project's programs on a GPU: a forward pass and a training step, without the data."""

from copy import deepcopy

from minidl import Tensor, no_grad
from minidl.device import to_device
from yolov3.data.batches import Batch
from yolov3.data.shapes import ShapesDataset
from yolov3.devices import computing_in, image_type
from yolov3.train import TrainingRun
from yolov3.train_settings import TrainSettings


def our_forward(model, images, precision, device, fused):
    """A function that returns the heads, arrays (batch, rows, columns, outputs) on the device.

    model: on the CPU, and stays there; images: a NumPy array (batch, height, width, 3); fused: by ``model.fuse()``,
    which on a GPU is one CUDA graph; else layer by layer.
    """
    network = deepcopy(model).to(device).eval()
    network = network.fuse(precision=precision) if fused else network
    # A fused network takes float32 in any precision; another computes in the type of its images.
    images = Tensor(to_device(images if fused else images.astype(image_type(precision)), device))

    def forward():
        with computing_in(precision), no_grad():
            return [head.data for head in network(images)]

    return forward


class OurStep:
    """A training step, that of ``yolov3 train``; called, it returns the loss before it.

    Images and truths are on the device already.
    """

    def __init__(self, preset, model, batch, precision, device):
        settings = TrainSettings(
            model=preset, image_size=batch.images.shape[1:3], batch=len(batch.images), learning_rate=1e-3
        )
        data = ShapesDataset("train", size=settings.batch, image_size=32)  # a run has one, which is not used here
        self._run = TrainingRun(settings, data, data, {}, deepcopy(model), device, precision)
        self._run.model.train()
        images = to_device(batch.images.astype(image_type(precision)), device)
        self._batch = Batch(images, to_device(batch.truths, device))

    def __call__(self):
        return self._run.learner.step(self._batch, 1)["loss"]
