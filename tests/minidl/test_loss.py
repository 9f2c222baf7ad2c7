"""Losses from logits: loops, SciPy, numbers by hand, extreme logits, number types and shapes."""

import math

import numpy as np
import pytest

from minidl import Tensor, ops
from minidl.device import to_cpu, to_device
from tests.minidl import naive
from tests.minidl.harness import check_operation, numbers

TARGETS = np.random.default_rng(3).uniform(size=(3, 5))
WEIGHTS = np.random.default_rng(4).uniform(size=(3, 5))
ONES = np.ones((3, 5))


@pytest.mark.parametrize("loss", ["bce_with_logits", "squared_error"])
@pytest.mark.parametrize(
    "weights", [None, WEIGHTS, WEIGHTS[:, :1], WEIGHTS[0], 2.5], ids=["none", "full", "column", "row", "number"]
)
def test_weighted_losses(loss, weights, device):
    full = np.broadcast_to(1 if weights is None else weights, (3, 5))
    check_operation(
        lambda x: getattr(ops, loss)(x, TARGETS, weights),
        [2 * numbers(3, 5)],
        lambda x: getattr(naive, loss)(x, TARGETS, full),
        device,
    )


def test_cross_entropy(device):
    labels = np.array([0, 2, 2, 1])
    check_operation(
        lambda x: ops.cross_entropy(x, labels), [2 * numbers(4, 3)], lambda x: naive.cross_entropy(x, labels), device
    )


def tensor(values, device, dtype=np.float64):
    return Tensor(to_device(np.array(values, dtype), device), requires_grad=True)


def test_by_hand(device):
    assert ops.bce_with_logits(tensor([0], device), np.array([1.0])).item() == pytest.approx(math.log(2))
    assert ops.bce_with_logits(tensor([math.log(3)], device), np.array([0.0])).item() == pytest.approx(math.log(4))
    assert ops.cross_entropy(tensor([[0, 0]], device), np.array([1])).item() == pytest.approx(math.log(2))
    assert ops.squared_error(tensor([3, 1], device), np.array([1.0, 0.0]), np.array([1.0, 4.0])).item() == 2 + 2


def test_gradients_by_hand(device):
    x = tensor([0, math.log(3)], device)
    ops.bce_with_logits(x, np.array([1.0, 0.25]), np.array([1.0, 10.0])).backward()
    np.testing.assert_allclose(to_cpu(x.grad), [-0.5, 5.0])
    x = tensor([[0, 0]], device)
    (ops.cross_entropy(x, np.array([1])) * 3).backward()
    np.testing.assert_allclose(to_cpu(x.grad), [[1.5, -1.5]])


def test_a_soft_target_is_met_by_its_own_logit():
    target = np.array([0.1, 0.5, 0.8])
    x = Tensor(np.log(target / (1 - target)), requires_grad=True)
    loss = ops.bce_with_logits(x, target)
    loss.backward()
    np.testing.assert_allclose(x.grad, 0, atol=1e-15)
    assert loss.item() == pytest.approx(-(target * np.log(target) + (1 - target) * np.log(1 - target)).sum())


def test_against_scipy():
    special = pytest.importorskip("scipy.special")
    x = 20 * numbers(6, 5)
    targets = np.random.default_rng(0).uniform(size=x.shape)
    wanted = -(targets * special.log_expit(x) + (1 - targets) * special.log_expit(-x)).sum()
    assert ops.bce_with_logits(Tensor(x), targets).item() == pytest.approx(wanted, rel=1e-12)
    labels = np.array([4, 0, 1, 1, 3, 2])
    wanted = -special.log_softmax(x, axis=1)[np.arange(6), labels].sum()
    assert ops.cross_entropy(Tensor(x), labels).item() == pytest.approx(wanted, rel=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.filterwarnings("error")  # an overflow would warn
def test_logits_of_a_thousand(dtype, device):
    x = tensor([-1000, -1000, 1000, 1000], device, dtype)
    loss = ops.bce_with_logits(x, np.array([0, 1, 0, 0.75]))
    loss.backward()
    assert loss.item() == 0 + 1000 + 1000 + 250
    np.testing.assert_array_equal(to_cpu(x.grad), [0, -1, 1, 0.25])
    x = tensor([[-1000, 1000], [-1000, 1000], [1000, 1000]], device, dtype)
    loss = ops.cross_entropy(x, np.array([1, 0, 0]))
    loss.backward()
    assert loss.item() == pytest.approx(0 + 2000 + math.log(2))
    np.testing.assert_array_equal(to_cpu(x.grad), [[0, 0], [-1, 1], [-0.5, 0.5]])


@pytest.mark.parametrize("kind", [np.float64, np.int64, bool, np.float32])
def test_targets_and_weights_of_any_type_leave_float32_alone(kind):
    target = np.array([1, 0, 1]).astype(kind)
    for loss in (ops.bce_with_logits, ops.squared_error):
        x = Tensor(np.array([0.5, -1, 2], np.float32), requires_grad=True)
        seen = []
        middle = Tensor.from_operation(x.data * 1, (x,), lambda grad: seen.append(grad.dtype) or (grad,), "spy")  # noqa: B023
        total = loss(middle, target, target)
        total.backward()
        assert total.dtype == np.float32
        assert seen == [np.float32]


def test_cross_entropy_leaves_float32_alone(device):
    x = tensor(np.zeros((2, 3)), device, np.float32)
    total = ops.cross_entropy(x, np.array([0, 1]))
    total.backward()
    assert (total.dtype, x.grad.dtype) == (np.float32, np.float32)


def test_no_entries_cost_nothing():
    assert ops.bce_with_logits(Tensor(np.zeros((0, 4))), np.zeros((0, 4))).item() == 0
    assert ops.squared_error(Tensor(np.zeros(0)), np.zeros(0)).item() == 0
    assert ops.cross_entropy(Tensor(np.zeros((0, 4))), np.zeros(0, int)).item() == 0


@pytest.mark.parametrize("loss", [ops.bce_with_logits, ops.squared_error])
def test_targets_and_weights_of_another_shape_are_refused(loss):
    name = loss.__name__
    with pytest.raises(ValueError, match=rf"{name}: targets \(4,\) do not fit the predictions \(4, 1\)"):
        loss(Tensor(np.zeros((4, 1))), np.zeros(4))
    with pytest.raises(ValueError, match=rf"{name}: weights \(2, 3\) do not fit the predictions \(3,\)"):
        loss(Tensor(np.zeros(3)), np.zeros(3), np.ones((2, 3)))


@pytest.mark.parametrize(
    ("logits", "labels", "message"),
    [
        ((2, 3), [0, 3], r"labels must lie in 0\.\.\.2, found 0\.\.\.3"),
        ((2, 3), [-1, 2], r"labels must lie in 0\.\.\.2, found -1\.\.\.2"),
        ((3, 3), [0, 1], r"cross_entropy: needs logits \(count, classes\) .* not \(3, 3\) and \(2,\)"),
        ((3,), [0, 1, 2], r"cross_entropy: needs logits \(count, classes\) .* not \(3,\) and \(3,\)"),
    ],
)
def test_cross_entropy_refuses_wrong_labels(logits, labels, message):
    with pytest.raises(ValueError, match=message):
        ops.cross_entropy(Tensor(np.zeros(logits)), np.array(labels))
