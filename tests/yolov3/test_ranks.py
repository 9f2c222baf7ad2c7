"""Several processes that train together do what one does: the same pictures, losses, gradients and weights."""

from itertools import islice

import numpy as np
import pytest

from minidl import Tensor
from minidl.collective import ALONE
from tests import conftest
from tests.mpi import run_ranks
from tests.yolov3.ranks_learn import BATCH, DATA, SETTINGS, SIZE, SMALL, STEPS, batches, compute
from yolov3.data.augment import NONE
from yolov3.data.batches import TrainingBatches
from yolov3.errors import UserError
from yolov3.learner import DECAY
from yolov3.loss import yolo_loss
from yolov3.model import build_model
from yolov3.targets import TargetSettings

RUNS = [(2, "cpu"), *((2, device) for device in conftest.tested("emulated"))]


@pytest.fixture(scope="module")
def alone():
    """{name: array} by one process with the whole batch, on the CPU."""
    return compute(ALONE, "cpu")


@pytest.fixture(scope="module", params=RUNS, ids=lambda run: f"{run[0]}-{run[1]}")
def ranks(request, tmp_path_factory):
    """What each rank found, a list of {name: array}; they are started once for all tests."""
    count, device = request.param
    folder = tmp_path_factory.mktemp("ranks")
    run_ranks(count, "-m", "tests.yolov3.ranks_learn", folder, device)
    found = []
    for rank in range(count):
        with np.load(folder / f"{rank}.npz") as file:
            found.append(dict(file))
    return found


def named(arrays, prefix):
    return {name: array for name, array in arrays.items() if name.startswith(prefix)}


# The emulator is slow, and makes one small step only.
with_all_results = pytest.mark.parametrize("ranks", [(2, "cpu")], indirect=True, ids=["2-cpu"])


def test_the_ranks_see_the_pictures_of_one_process(alone, ranks):
    for name in named(ranks[0], ("images", "small images")):
        np.testing.assert_array_equal(np.concatenate([own[name] for own in ranks]), alone[name])


@with_all_results
def test_loss_and_gradients_are_those_of_the_whole_batch(alone, ranks):
    for own in ranks:
        np.testing.assert_allclose(own["terms"], alone["terms"], rtol=1e-12)
        for name, expected in named(alone, "gradient").items():
            assert np.abs(own[name] - expected).max() < 1e-12 * np.abs(expected).max(), name


def test_a_step_is_that_of_one_process(alone, ranks):
    """In float32: to rounding.  The change of the weights is compared, most of which do not change much."""
    start = build_model("yolov3-nano", 3, seed=1).state_dict()
    before = {f"small weight {name}": array for name, array in start.items()}
    for own in ranks:
        np.testing.assert_allclose(own["small values 1"], alone["small values 1"], rtol=2e-6)
        change = distance(alone, before, "small weight")
        for kind in ("small weight", "small average"):
            assert distance(own, alone, kind) < 2e-5 * change


@with_all_results
def test_further_steps(alone, ranks):
    """Each step multiplies what was rounded in the one before."""
    for own in ranks:
        for step in range(1, STEPS + 1):
            np.testing.assert_allclose(own[f"values {step}"], alone[f"values {step}"], rtol=2e-4)
        for kind in ("weight", "average"):
            assert distance(own, alone, kind) < 1e-4 * distance(alone, {}, kind)


def distance(arrays, others, kind):
    """The length of the difference of all arrays of a kind; those that ``others`` lacks are 0 there."""
    differences = [array.astype(np.float64) - others.get(name, 0) for name, array in named(arrays, kind).items()]
    return np.sqrt(sum((each**2).sum() for each in differences))


def test_all_ranks_have_the_same_bits(ranks):
    """Or they would drift apart."""
    first = ranks[0]
    for own in ranks[1:]:
        for name, array in first.items():
            if "images" not in name:
                np.testing.assert_array_equal(own[name], array)


@with_all_results
def test_a_step_with_batch_norms_apart(ranks):
    """As one process would make it that shows each half of the batch to the network in turn."""
    (batch,) = islice(batches(ALONE, SMALL), 1)
    expected, statistics = build_model("yolov3-nano", 3, seed=1).train(), []
    expected.configure_batchnorm(momentum=SETTINGS.momentum)
    start, gradients = expected.state_dict(), {}
    for half in (slice(0, BATCH // 2), slice(BATCH // 2, BATCH)):
        expected.load_state_dict(start)
        heads = expected(Tensor(batch.images[half]))
        targets = TargetSettings(ignore_threshold=SETTINGS.ignore_threshold)
        loss = yolo_loss(heads, batch.truths[half], expected.anchors, expected.strides, targets, batch=BATCH)
        expected.zero_grad()
        loss.total.backward()
        for name, parameter in expected.named_parameters():
            gradients[name] = gradients.get(name, 0) + parameter.grad
        statistics.append({name: array for name, array in expected.state_dict().items() if "running" in name})
    assert distance(*statistics, "") > 0.1
    for own in ranks:
        for name, first in statistics[0].items():
            mean = (first + statistics[1][name]) / 2
            np.testing.assert_allclose(own[f"apart weight {name}"], mean, rtol=1e-5, atol=1e-6)
        for name, gradient in gradients.items():
            decay = DECAY if start[name].ndim > 1 else 0
            change = SETTINGS.learning_rate * (gradient + decay * start[name])
            close = 1e-4 * np.abs(change).max()
            np.testing.assert_allclose(own[f"apart weight {name}"], start[name] - change, rtol=2e-7, atol=close)
        assert own["apart values 1"][0] != own["small values 1"][0]


@with_all_results
def test_a_validation_is_divided(alone, ranks):
    for own in ranks:
        np.testing.assert_array_equal(own["counts"], alone["counts"])
        np.testing.assert_allclose(own["boxes"], alone["boxes"], rtol=1e-4, atol=1e-3)
        np.testing.assert_allclose(own["mAP"], alone["mAP"], rtol=1e-6)


def test_a_batch_that_cannot_be_divided_evenly():
    with pytest.raises(UserError, match=r"8 .* evenly among 3 processes: start 2, or a new run with --batch 6"):
        TrainingBatches(DATA, SIZE, 8, NONE, 0, share=(1, 3))
    with pytest.raises(UserError, match="start 2, or a new run with --batch 4"):
        TrainingBatches(DATA, SIZE, 2, NONE, 0, share=(0, 4))
