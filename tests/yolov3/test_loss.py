"""The loss: by hand, against the original's deltas, against finite differences, and where numbers get huge."""

import math

import numpy as np
import pytest

from minidl import Tensor
from minidl.gradcheck import gradcheck
from tests.yolov3.golden_yolo import ANCHORS, STRIDES, golden_layer
from yolov3.loss import LossTerms, yolo_loss
from yolov3.targets import TargetSettings

LN2 = math.log(2)


def bce(logit, target):
    """Straight from the definition."""
    p = 1 / (1 + math.exp(-logit))
    return -target * math.log(p) - (1 - target) * math.log(1 - p)


def terms_of(loss):
    return {name: float(getattr(loss, name)) for name in LossTerms.names}


# ---------------------------------------------------------------------------------------- by hand

# One cell of 32x32 pixels, two anchors; the truth, 16x8 pixels of class 1, belongs to the first.
ONE_CELL_ANCHORS = (np.array([[16.0, 16.0], [32.0, 32.0]]),)
ONE_TRUTH = np.array([[[0.25, 0.5, 0.5, 0.25, 1]]])
ONE_HEAD = np.array([0.3, -0.4, 0.5, 0.1, 1.2, -0.7, 0.9, 0, 0, 0, 0, -2.0, 5, 5]).reshape(1, 1, 1, 14)


def one_cell_loss(head=ONE_HEAD, truths=ONE_TRUTH, **arguments):
    return yolo_loss((Tensor(head, requires_grad=True),), truths, ONE_CELL_ANCHORS, (32,), **arguments)


def test_every_term_by_hand():
    loss = one_cell_loss()
    weight = 2 - 0.5 * 0.25
    wanted = {
        "centre": weight * (bce(0.3, 0.25) + bce(-0.4, 0.5)),
        "size": weight * (0.5**2 + (0.1 + LN2) ** 2) / 2,  # targets ln(16 / 16) and ln(8 / 16)
        "object": bce(1.2, 1),
        "no_object": bce(-2, 0),  # the second anchor; its box and classes cost nothing
        "classes": bce(-0.7, 0) + bce(0.9, 1),
    }
    assert terms_of(loss) == pytest.approx(wanted, rel=1e-12)
    assert loss.total.item() == pytest.approx(sum(wanted.values()), rel=1e-12)
    assert [int(count) for count in loss.positives] == [1]


def test_squared_errors_for_the_centre_as_the_notes_draw_them():
    squared = one_cell_loss(squared_xy=True)
    sigmoids = [1 / (1 + math.exp(-t)) for t in (0.3, -0.4)]
    wanted = (2 - 0.125) * ((sigmoids[0] - 0.25) ** 2 + (sigmoids[1] - 0.5) ** 2) / 2
    assert float(squared.centre) == pytest.approx(wanted, rel=1e-12)
    others = terms_of(one_cell_loss()) | {"centre": wanted}
    assert terms_of(squared) == pytest.approx(others, rel=1e-12)


def test_without_weights_by_size():
    weighted, plain = terms_of(one_cell_loss()), terms_of(one_cell_loss(settings=TargetSettings(weigh_by_size=False)))
    for name in LossTerms.names:
        factor = 2 - 0.125 if name in ("centre", "size") else 1
        assert weighted[name] == pytest.approx(factor * plain[name], rel=1e-12)


def test_an_ignored_prediction_costs_nothing():
    head = ONE_HEAD.copy()
    head[0, 0, 0, 7:11] = [-math.log(3), 0, math.log(16 / 32), math.log(8 / 32)]  # the second box is the truth itself
    loss = one_cell_loss(head)
    assert float(loss.no_object) == 0
    loss.total.backward()


def test_anchors_fit_in_pixels_where_the_input_is_not_square():
    # 64 wide and 32 high: a truth of a quarter by a half is 16x16, the second anchor itself.
    head = Tensor(np.zeros((1, 1, 2, 3 * 6)), requires_grad=True)
    anchors = (np.array([[8.0, 32.0], [16.0, 16.0], [32.0, 8.0]]),)
    loss = yolo_loss((head,), np.array([[[0.2, 0.6, 0.25, 0.5, 0]]]), anchors, (32,))
    loss.total.backward()
    assert float(loss.size) == pytest.approx(0, abs=1e-12)
    classes = head.grad.reshape(2, 3, 6)[..., 5]  # (column, anchor)
    assert np.argwhere(classes).tolist() == [[0, 1]]


def test_a_picture_without_objects_pays_for_objectness_alone():
    for truths in (np.zeros((1, 3, 5)), np.zeros((1, 0, 5))):
        terms = terms_of(one_cell_loss(truths=truths))
        assert terms == pytest.approx(
            {"centre": 0, "size": 0, "object": 0, "classes": 0, "no_object": bce(1.2, 0) + bce(-2, 0)}
        )


# ------------------------------------------------------------------------------------- the original


@pytest.mark.parametrize(
    ("key", "ignore", "truth"),
    [
        ("", 0.5, 1),
        ("_ignore.2", 0.2, 1),
        ("_ignore.2_truth.3", 0.2, 0.3),
        ("_ignore.1", 0.1, 1),
        ("_ignore.1_truth.15", 0.1, 0.15),
    ],
)
def test_gradient_is_minus_the_originals_delta(golden, key, ignore, truth):
    layer = golden_layer(golden)
    heads = [Tensor(layer.head, requires_grad=True), Tensor(layer.other_head)]
    settings = TargetSettings(ignore_threshold=ignore, truth_threshold=truth)
    yolo_loss(heads, layer.truths, ANCHORS, STRIDES, settings).total.backward()
    np.testing.assert_allclose(-heads[0].grad, layer.array(f"yolo_delta{key}"), atol=5e-7)
    cost = layer.functions.get(f"yolo_cost{key}")  # what the original prints is the sum of squared deltas
    if cost is not None:
        assert (heads[0].grad ** 2).sum() == pytest.approx(cost, rel=1e-6)


# ------------------------------------------------------------------------------- gradients and batches


def random_case(batch=2, dtype=np.float64, seed=0):
    """Two scales of a 64x96 input, three and two anchors, four classes: heads, truths, anchors, strides."""
    rng = np.random.default_rng(seed)
    anchors = (np.array([[30, 40], [50, 25], [64, 64]]), np.array([[8, 12], [16, 10]]))
    heads = [rng.standard_normal((batch, 2, 3, 3 * 9)), rng.standard_normal((batch, 4, 6, 2 * 9))]
    sizes = rng.uniform(0.1, 0.7, (batch, 5, 2))
    truths = np.concatenate([rng.uniform(0, 1, (batch, 5, 2)), sizes, rng.integers(0, 4, (batch, 5, 1))], axis=2)
    truths[0, 3:] = 0
    truths[1:, 1, :4] = truths[1:, 0, :4]  # two classes on one prediction
    return [head.astype(dtype) for head in heads], truths.astype(dtype), anchors, (32, 16)


@pytest.mark.parametrize("squared_xy", [False, True])
def test_gradient_agrees_with_finite_differences(squared_xy):
    heads, truths, anchors, strides = random_case(batch=1)
    settings = TargetSettings(ignore_threshold=0.3)

    def total(*tensors):
        return yolo_loss(tensors, truths, anchors, strides, settings, squared_xy).total

    gradcheck(total, *heads)


def test_scales_add_up():
    heads, truths, anchors, strides = random_case()
    loss = yolo_loss([Tensor(head) for head in heads], truths, anchors, strides)
    assert loss.total.item() == pytest.approx(sum(terms_of(loss).values()), rel=1e-12)
    claimed = 3 + 4  # picture 0 has three truths, in picture 1 the first two share a prediction
    assert sum(int(count) for count in loss.positives) == claimed
    assert all(count > 0 for count in loss.positives)


def test_the_loss_of_a_batch_is_the_mean_of_its_pictures():
    heads, truths, anchors, strides = random_case(batch=3)
    together = [Tensor(head, requires_grad=True) for head in heads]
    loss = yolo_loss(together, truths, anchors, strides)
    loss.total.backward()
    alone = []
    for picture in range(3):
        own = [Tensor(head[picture : picture + 1], requires_grad=True) for head in heads]
        alone.append(yolo_loss(own, truths[picture : picture + 1], anchors, strides))
        alone[-1].total.backward()
        for scale in range(2):
            np.testing.assert_allclose(together[scale].grad[picture], own[scale].grad[0] / 3, atol=1e-15)
    for name in LossTerms.names:
        assert terms_of(loss)[name] == pytest.approx(sum(terms_of(each)[name] for each in alone) / 3, rel=1e-12)


def test_float32_stays_float32():
    heads, truths, anchors, strides = random_case(dtype=np.float32)
    tensors = [Tensor(head, requires_grad=True) for head in heads]
    loss = yolo_loss(tensors, truths, anchors, strides)
    loss.total.backward()
    assert loss.total.dtype == np.float32
    assert all(getattr(loss, name).dtype == np.float32 for name in LossTerms.names)
    assert all(tensor.grad.dtype == np.float32 for tensor in tensors)
    exact = yolo_loss([Tensor(head.astype(np.float64)) for head in heads], truths.astype(np.float64), anchors, strides)
    assert loss.total.item() == pytest.approx(exact.total.item(), rel=1e-5)


@pytest.mark.parametrize("sign", [1, -1, "mixed"])
def test_huge_logits_stay_finite(sign):
    heads, truths, anchors, strides = random_case(dtype=np.float32)
    factors = [np.sign(head) if sign == "mixed" else sign for head in heads]
    tensors = [
        Tensor((np.full_like(head, 1000) * factor).astype(np.float32), requires_grad=True)
        for head, factor in zip(heads, factors, strict=True)
    ]
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        loss = yolo_loss(tensors, truths, anchors, strides)
        loss.total.backward()
    assert np.isfinite(loss.total.item())
    assert all(np.isfinite(tensor.grad).all() for tensor in tensors)
