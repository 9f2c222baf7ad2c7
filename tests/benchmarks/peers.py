"""The programs that are compared: this project, and its peers as far as they are installed.

A program is a function without arguments: all it needs is prepared, each in the layout that it likes best.
"""

import importlib

import numpy as np

from minidl import Tensor, get_num_threads, no_grad, one_blas_thread, set_num_threads
from minidl.inference import FuseSettings
from minidl.nn import BatchNorm
from minidl.optim import Adam
from yolov3.data.batches import Batch
from yolov3.loss import yolo_loss
from yolov3.onnx_export import INPUT, to_onnx

OURS, PYTORCH, ONNX_RUNTIME, OPENCV = "this project", "PyTorch", "ONNX Runtime", "OpenCV"
LIBRARIES = {PYTORCH: ("torch",), ONNX_RUNTIME: ("onnx", "onnxruntime"), OPENCV: ("onnx", "cv2")}
# This project with a trick switched off: the settings of `fuse`, None for the network as it is trained.
VARIANTS = {
    "not fused": None,
    "without Winograd": FuseSettings(winograd=()),
    "without F(4x4)": FuseSettings(winograd=(2,)),
    "without shared weights": FuseSettings(share_weights=False),
    "without kept borders": FuseSettings(keep_borders=False),
    "without joining in place": FuseSettings(join_in_place=False),
}
OUTPUT_TOLERANCE = 1e-4
LOSS_TOLERANCE = GRADIENT_TOLERANCE = 1e-3
LEARNING_RATE = 1e-3


class PeerError(AssertionError):
    """A peer computes something else than this project, so that their times cannot be compared."""


def library(name):
    """The module ``name``, or None where it is not installed."""
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


def installed(program):
    """Whether everything that a peer needs is installed."""
    return all(library(name) is not None for name in LIBRARIES[program])


def use_threads(count):
    """Let this project, NumPy and every installed peer compute with ``count`` threads."""
    from threadpoolctl import threadpool_limits

    set_num_threads(count)
    threadpool_limits(count, user_api="blas")
    if library("torch"):
        library("torch").set_num_threads(count)
    if library("cv2"):
        library("cv2").setNumThreads(count)


def fill_with_numbers(model, seed=0):
    """Give a fresh network's batch norms and biases random values, for in 0 and 1 many a mistake would not show."""
    rng = np.random.default_rng(seed)
    for _, module in model.named_modules():
        if isinstance(module, BatchNorm):
            for value in (module.gamma, module.running_variance):
                value.data = rng.uniform(0.5, 1.5, value.data.shape).astype(np.float32)
            for value in (module.beta, module.running_mean):
                value.data = rng.normal(0, 0.1, value.data.shape).astype(np.float32)
        elif getattr(module, "bias", None) is not None:
            module.bias.data = rng.normal(0, 0.1, module.bias.shape).astype(np.float32)


def relative_error(ours, theirs):
    """Largest difference of two arrays relative to our largest number."""
    return float(np.abs(ours - theirs).max() / np.abs(ours).max())


def inference_programs(model, images, variants=()):
    """``{program: function or None where it is not installed}``; a function returns the heads in our layout.

    This project's is ``model.fuse()``, as ``yolov3 detect`` uses it; ``variants``, of :data:`VARIANTS`, come besides.
    images: (batch, height, width, 3).
    """
    programs = dict.fromkeys((OURS, *variants, *LIBRARIES))
    programs[OURS] = _our_inference(model.fuse(), images)
    for variant in variants:
        settings = VARIANTS[variant]
        programs[variant] = _our_inference(model.eval() if settings is None else model.fuse(settings), images)
    if installed(PYTORCH):
        programs[PYTORCH] = _torch_inference(model, images)
    if installed(ONNX_RUNTIME) or installed(OPENCV):
        network = to_onnx(model, images.shape[1:3])
        file, outputs = network.SerializeToString(), [each.name for each in network.graph.output]
        blob = np.ascontiguousarray(images.transpose(0, 3, 1, 2))  # (1, 3, height, width)
        if installed(ONNX_RUNTIME):
            programs[ONNX_RUNTIME] = _onnx_runtime_inference(file, outputs, blob)
        if installed(OPENCV):
            programs[OPENCV] = _opencv_inference(file, outputs, blob)
    return programs


def _our_inference(network, images):
    def forward():
        with one_blas_thread, no_grad():
            return [head.data for head in network(Tensor(images))]

    return forward


def _torch_inference(model, images):
    import torch

    from tests.benchmarks.torch_peer import TorchDetector, to_images

    network, x = TorchDetector(model).eval(), to_images(images)

    def forward():
        with torch.inference_mode():
            return [head.numpy() for head in network(x)]

    return forward


def _onnx_runtime_inference(file, outputs, blob):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = get_num_threads()
    # Between its turns its threads shall sleep and not keep the others' cores busy.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    return lambda: [head.transpose(0, 2, 3, 1) for head in session.run(outputs, {INPUT: blob})]


def _opencv_inference(file, outputs, blob):
    import cv2

    network = cv2.dnn.readNetFromONNX(np.frombuffer(file, np.uint8))

    def forward():
        network.setInput(blob, INPUT)
        return [head.transpose(0, 2, 3, 1) for head in network.forward(outputs)]

    return forward


def check_inference(programs):
    """``{peer: relative error of its heads}``.  Raises PeerError where one exceeds OUTPUT_TOLERANCE."""
    expected, errors = programs[OURS](), {}
    for peer, function in programs.items():
        if peer != OURS and function is not None:
            errors[peer] = max(map(relative_error, expected, function()))
            _require(errors[peer], OUTPUT_TOLERANCE, peer, "heads")
    return errors


class OurTraining:
    """A training step of this project: that of ``yolov3 train``, without the data and the progress bar."""

    def __init__(self, model, batch):
        self._model, self._batch = model.train(), batch
        self._optimizer = Adam(model.parameters(), LEARNING_RATE)

    def backward(self):
        """Forward and backward.  Returns the loss as a number."""
        heads = self._model(Tensor(self._batch.images))
        loss = yolo_loss(heads, self._batch.truths, self._model.anchors, self._model.strides).total
        self._optimizer.zero_grad()
        loss.backward()
        return loss.item()

    def gradients(self):
        """``{path: gradient}`` that :meth:`backward` left."""
        return {path: parameter.grad for path, parameter in self._model.named_parameters()}

    def __call__(self):
        """One step.  Returns the loss before it."""
        with one_blas_thread:
            loss = self.backward()
            self._optimizer.step()
        return loss


class TorchTraining:
    """The same step of PyTorch, from the numbers that ``model`` has when this is made."""

    def __init__(self, model, batch):
        import torch

        from tests.benchmarks import torch_loss, torch_peer

        self._images, self._truths = torch_peer.to_images(batch.images), torch.from_numpy(batch.truths)
        dtype = self._images.dtype
        self.network = torch_peer.TorchDetector(model).train().to(dtype)
        self._anchors, self._strides = [torch.from_numpy(group).to(dtype) for group in model.anchors], model.strides
        self._optimizer = torch.optim.Adam(self.network.parameters(), LEARNING_RATE, fused=True)  # its fastest
        self._yolo_loss, self._named_gradients = torch_loss.yolo_loss, torch_peer.named_gradients

    def backward(self):
        """As :meth:`OurTraining.backward`."""
        loss = self._yolo_loss(self.network(self._images), self._truths, self._anchors, self._strides)
        self._optimizer.zero_grad()
        loss.backward()
        return loss.item()

    def gradients(self):
        """``{path: gradient}`` that :meth:`backward` left, names and layouts ours."""
        return self._named_gradients(self.network)

    def __call__(self):
        """One step.  Returns the loss before it."""
        loss = self.backward()
        self._optimizer.step()
        return loss


def training_programs(model, batch):
    """``{program: its training step, or None where it is not installed}``, all from the same numbers."""
    torch_training = TorchTraining(model, batch) if installed(PYTORCH) else None  # first: it copies the numbers
    return {OURS: OurTraining(model, batch), PYTORCH: torch_training}


def check_losses(programs):
    """Let every program make one step.  Raises PeerError where the losses before it differ."""
    losses = {program: step() for program, step in programs.items() if step is not None}
    for peer, loss in losses.items():
        _require(abs(loss - losses[OURS]) / abs(losses[OURS]), LOSS_TOLERANCE, peer, "loss")


def check_gradients(model, batch):
    """``{peer: largest relative error of a parameter's gradient}``, computed in float64; ``model`` becomes float64.

    Raises PeerError where a gradient differs.  Why not in float32: an activation within rounding of leaky ReLU's kink
    gets slope 1 in one program and 0.1 in the other.  There are always some among millions, and one of them in a small
    map moves the gradients below it by some per cent, in either program.
    """
    exact_batch = Batch(batch.images.astype(np.float64), batch.truths.astype(np.float64))
    programs = training_programs(model.astype(np.float64), exact_batch)
    ours = programs.pop(OURS)
    ours.backward()
    gradients, errors = ours.gradients(), {}
    for peer, training in programs.items():
        if training is None:
            continue
        training.backward()
        theirs = training.gradients()
        if theirs.keys() != gradients.keys():
            raise PeerError(f"{peer} has other parameters: {sorted(theirs.keys() ^ gradients.keys())}")
        each = {path: relative_error(gradient, theirs[path]) for path, gradient in gradients.items()}
        worst = max(each, key=each.get)
        _require(each[worst], GRADIENT_TOLERANCE, peer, f"gradient of {worst}")
        errors[peer] = each[worst]
    return errors


def _require(error, tolerance, peer, what):
    if not error <= tolerance:
        raise PeerError(f"{peer} disagrees on the {what}: relative error {error:.2g}, allowed {tolerance:.0e}")
