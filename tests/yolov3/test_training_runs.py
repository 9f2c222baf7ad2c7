"""Five steps of training against PyTorch, in both number types, and against the original program itself."""

from dataclasses import dataclass

import numpy as np
import pytest

from minidl import Tensor, nn
from minidl.optim import SGD, decay_groups
from tests.hashing import hash_image
from tests.yolov3.golden_network import (
    MiniNetwork,
    channels_first,
    golden_slots,
    load_parameters,
    load_table,
    relative_error,
    to_file_layout,
)
from yolov3.loss import yolo_loss
from yolov3.model import build_model

STEPS = 5
BATCH = 2

# Float64 agrees to the last digits.  Float32 does so up to the heads of step 1; behind them rounding decides on which
# side of 0 a leaky ReLU stands, or which pixel wins a pool, and rounding depends on the order of summation: on the
# number of threads and on the processor.  With pictures changed by 1e-7, 17 of 40 runs differed by more than 1e-4:
# gradients by up to 1.4e-3 of a tensor's largest, later losses by 7.5e-3, final tensors by 9e-4; hence the limits.
EXACT = 1e-9
SINGLE_AT_HEADS = 1e-4
SINGLE_GRADIENTS = 1e-2
SINGLE_LATER_LOSSES = 2e-2
SINGLE_FINAL = 5e-3


@dataclass(frozen=True)
class Setting:
    """One golden training run: its network, seed, learning rate and the numbers of its output convolutions."""

    table: str
    seed: int
    rate: float
    heads: tuple


RUNS = {
    "train-mini": Setting("mini", 8, 0.0001, (19, 26)),
    "train-yolov3-tiny-3class": Setting("yolov3-tiny-3class", 4, 0.001, (15, 22)),
}
ORIGINAL = "train-yolov3-tiny-3class-original"


@dataclass(frozen=True)
class Trained:
    """What five steps gave; parameters and gradients by their golden names, in the golden files' layout."""

    losses: np.ndarray  # (steps, 7): centre, size, object, no object, classes, total, sum of squared deltas
    heads: list  # of step 1, (batch, channels, height, width)
    head_gradients: list
    gradients: dict  # of step 1
    final: dict


def build(table_name):
    if table_name == "mini":
        return MiniNetwork()
    return build_model("yolov3-tiny", classes=3, seed=0)


def train(setting, truths, folder, dtype, rule=nn.STANDARD):
    """Five steps on the two golden pictures by the rules of the golden runs (momentum 0.9, decay of weights 5e-4)."""
    table = load_table(folder, setting.table)
    model = load_parameters(build(setting.table), table, setting.seed).astype(dtype)
    model.configure_batchnorm(momentum=0.01, rule=rule).train()
    slots = golden_slots(model, table)
    optimizer = SGD(decay_groups(model, 5e-4), setting.rate, momentum=0.9)
    pictures = np.stack([hash_image(96, 96, seed) for seed in (301, 302)])  # (2, 96, 96, 3)
    images = (pictures / 255).astype(np.float32).astype(dtype)  # the golden inputs are rounded in both number types
    losses, heads, head_gradients, gradients = [], None, None, None
    for step in range(STEPS):
        outputs = model(Tensor(images))
        output_gradients = gradients_at_heads(outputs, truths, model)
        loss = yolo_loss(outputs, truths, model.anchors, model.strides)
        optimizer.zero_grad()
        loss.total.backward()
        if step == 0:
            heads = [channels_first(output.data) for output in outputs]
            head_gradients = [channels_first(gradient) for gradient in output_gradients]
            gradients = {name: to_file_layout(slot.grad) for name, slot in slots.items() if hasattr(slot, "grad")}
        losses.append([*(getattr(loss, name) for name in loss.names), loss.total.data, printed(output_gradients)])
        optimizer.step()
    final = {name: to_file_layout(slot.data) for name, slot in slots.items()}
    return Trained(np.array(losses), heads, head_gradients, gradients, final)


def gradients_at_heads(outputs, truths, model):
    leaves = [Tensor(output.data, requires_grad=True) for output in outputs]
    yolo_loss(leaves, truths, model.anchors, model.strides).total.backward()
    return [leaf.grad for leaf in leaves]


def printed(output_gradients):
    """The number that the original prints: squared deltas, summed, mean over heads, per picture (spec 5.5)."""
    deltas = [-BATCH * gradient for gradient in output_gradients]  # before the loss is divided by the batch
    return sum((delta**2).sum() for delta in deltas) / len(deltas) / BATCH


@pytest.fixture(scope="module", params=RUNS)
def run_name(request):
    return request.param


@pytest.fixture(scope="module")
def exact(run_name, golden):
    """The run in float64."""
    truths = np.load(golden / f"{run_name}.npz")["truths"]
    return train(RUNS[run_name], truths, golden, np.float64)


@pytest.fixture(scope="module")
def single(run_name, golden):
    """The run in float32."""
    truths = np.load(golden / f"{run_name}.npz")["truths"].astype(np.float32)
    return train(RUNS[run_name], truths, golden, np.float32)


@pytest.fixture(params=["thinned", "complete"])
def folder(request, golden):
    """The project's own thinned golden numbers, and all of them where they are at hand."""
    return golden if request.param == "thinned" else request.getfixturevalue("shared") / "golden"


@pytest.fixture
def numbers(folder, run_name):
    return dict(np.load(folder / f"{run_name}.npz"))


def our_terms(golden_losses):
    """Golden losses (steps, 9) as ours: we keep x with y and w with h."""
    x, y, w, h, *others = golden_losses.T
    return np.stack([x + y, w + h, *others], axis=1)


def compare_tensors(found, numbers, samples, norms, limit):
    """Every tensor at its sampled positions and by its norm, relative to its largest sample."""
    compared = 0
    for row, name in enumerate(numbers["tensors"]):
        if name not in found:  # gradients of running statistics: there are none
            assert np.isnan(numbers[norms][row])
            continue
        wanted = numbers[samples][row]
        values = found[name].reshape(-1)
        error = np.abs(values[numbers["sample_index"][row]] - wanted).max()
        assert error < limit * np.abs(wanted).max(), name
        assert np.linalg.norm(values) == pytest.approx(numbers[norms][row], rel=limit), name
        compared += 1
    return compared


# -------------------------------------------------------------------------------------------- PyTorch


def test_losses_of_five_steps_in_float64(exact, numbers):
    np.testing.assert_allclose(exact.losses, our_terms(numbers["f64_loss"]), rtol=EXACT)


def test_losses_of_five_steps_in_float32(single, numbers):
    wanted = our_terms(numbers["f64_loss"])
    np.testing.assert_allclose(single.losses[0], wanted[0], rtol=SINGLE_AT_HEADS)
    np.testing.assert_allclose(single.losses[1:], wanted[1:], rtol=SINGLE_LATER_LOSSES)
    assert single.heads[0].dtype == np.float32


def test_heads_and_their_gradients(exact, single, numbers, run_name):
    for index, layer in enumerate(RUNS[run_name].heads):
        head, gradient = numbers[f"f64_head_{layer:03}"], numbers[f"f64_head_grad_{layer:03}"]
        assert relative_error(exact.heads[index], head) < EXACT
        assert relative_error(exact.head_gradients[index], gradient) < EXACT
        assert relative_error(single.heads[index], head) < SINGLE_AT_HEADS
        assert relative_error(single.head_gradients[index], gradient) < SINGLE_AT_HEADS


def test_gradient_of_every_parameter(exact, single, numbers):
    trainable = sum(not name.endswith((".mean", ".var")) for name in numbers["tensors"])
    assert compare_tensors(exact.gradients, numbers, "f64_grad_samples", "f64_grad_norm", EXACT) == trainable
    compare_tensors(single.gradients, numbers, "f64_grad_samples", "f64_grad_norm", SINGLE_GRADIENTS)


def test_every_tensor_after_five_steps(exact, single, numbers):
    everything = len(numbers["tensors"])
    assert compare_tensors(exact.final, numbers, "f64_final_samples", "f64_final_norm", EXACT) == everything
    assert compare_tensors(single.final, numbers, "f64_final_samples", "f64_final_norm", SINGLE_FINAL) == everything


# ------------------------------------------------------------------------------- the original program


@pytest.fixture(scope="module")
def as_the_original(golden):
    """Its rules: another batch norm, and the first four truths of each picture."""
    setting, truths = RUNS["train-yolov3-tiny-3class"], np.load(golden / f"{ORIGINAL}.npz")["truths"]
    return train(setting, truths, golden, np.float64, nn.DARKNET_CPU)


@pytest.fixture
def original_numbers(folder):
    return dict(np.load(folder / f"{ORIGINAL}.npz"))


def test_the_original_prints_our_losses(as_the_original, original_numbers):
    printed_losses = as_the_original.losses[:, -1]
    np.testing.assert_allclose(printed_losses, original_numbers["darknet_loss"], rtol=1e-5)
    exact = our_terms(original_numbers["torch_f64_same_rule_loss"])
    np.testing.assert_allclose(as_the_original.losses, exact, rtol=EXACT)


def test_the_originals_heads_and_deltas(as_the_original, original_numbers):
    for index, (head, yolo) in enumerate(((15, 16), (22, 23))):
        deltas = -BATCH * as_the_original.head_gradients[index]
        assert relative_error(as_the_original.heads[index], original_numbers[f"head_{head:03}"]) < 2e-5
        assert relative_error(deltas, original_numbers[f"delta_{yolo:03}"]) < 2e-5


def test_the_originals_gradients_and_tensors_after_five_steps(as_the_original, original_numbers):
    for row, name in enumerate(original_numbers["tensors"]):
        index = original_numbers["sample_index"][row]
        if name in as_the_original.gradients:
            updates = -BATCH * as_the_original.gradients[name].reshape(-1)
            assert relative_error(updates[index], original_numbers["update_samples"][row]) < 1e-4, name
        final = as_the_original.final[name].reshape(-1)
        assert relative_error(final[index], original_numbers["final_samples"][row]) < 5e-4, name
