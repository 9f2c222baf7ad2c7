"""Targets: small cases by hand, and random ones against the specification written as loops."""

import math
from types import SimpleNamespace

import numpy as np
import pytest

from yolov3.targets import TargetSettings, best_anchors, scale_targets

# Anchors from fine to coarse, the order in which ties are decided; a scale owns two or three of them.
ANCHORS = np.array([[10, 14], [23, 27], [37, 58], [81, 82], [60, 20]], np.float64)


def targets_of(head, truths, anchors, stride=32, first_anchor=0, own=None, **settings):
    """Targets of one scale that owns ``own`` of all the anchors from ``first_anchor`` on (default: all of them)."""
    net_size = (head.shape[2] * stride, head.shape[1] * stride)
    best = best_anchors(truths, anchors, net_size)
    group = anchors[first_anchor : first_anchor + (own or len(anchors))]
    return scale_targets(head, truths, group, stride, first_anchor, best, TargetSettings(**settings))


def empty_head(rows, columns, anchors, classes=3, batch=1):
    """Logits 0: every predicted box is its anchor, in the middle of its cell."""
    return np.zeros((batch, rows, columns, anchors * (5 + classes)))


# ---------------------------------------------------------------------------------------- by hand


def test_one_truth_on_a_grid_of_one_cell():
    truths = np.array([[[0.25, 0.5, 0.5, 0.25, 2]]])  # 16x8 pixels of 32x32, class 2
    targets = targets_of(empty_head(1, 1, 1), truths, np.array([[16.0, 16.0]]))
    assert targets.positive.tolist() == [[[[True]]]]
    assert targets.negative.tolist() == [[[[False]]]]
    np.testing.assert_allclose(targets.offset.reshape(-1), [0.25, 0.5])
    np.testing.assert_allclose(targets.log_size.reshape(-1), [0, -math.log(2)])
    np.testing.assert_allclose(targets.box_weight.reshape(-1), [2 - 0.125])
    np.testing.assert_array_equal(targets.classes.reshape(-1), [0, 0, 1])


def test_the_cell_that_holds_the_centre_and_the_anchor_that_fits_best():
    # Row 1, column 2 of 2x3 cells; 20x40 is nearest in shape to the second anchor.
    anchors = np.array([[40.0, 20.0], [22.0, 38.0], [64.0, 64.0]])
    truths = np.array([[[2.25 / 3, 1.75 / 2, 20 / 96, 40 / 64, 0]]])
    targets = targets_of(empty_head(2, 3, 3), truths, anchors)
    assert np.argwhere(targets.positive).tolist() == [[0, 1, 2, 1]]
    np.testing.assert_allclose(targets.offset[0, 1, 2, 1], [0.25, 0.75], atol=1e-12)
    np.testing.assert_allclose(targets.log_size[0, 1, 2, 1], np.log([20 / 22, 40 / 38]))
    assert targets.negative.sum() == 2 * 3 * 3 - 1
    assert np.count_nonzero(targets.box_weight) == 1


def test_two_truths_on_one_prediction():
    truths = np.array([[[0.2, 0.3, 0.5, 0.5, 2], [0.6, 0.7, 0.25, 0.5, 0]]])
    targets = targets_of(empty_head(1, 1, 1), truths, np.array([[16.0, 16.0]]))
    np.testing.assert_allclose(targets.offset.reshape(-1), [0.6, 0.7])  # the later box
    np.testing.assert_allclose(targets.log_size.reshape(-1), [-math.log(2), 0], atol=1e-12)
    np.testing.assert_allclose(targets.box_weight.reshape(-1), [2 - 0.125])
    np.testing.assert_array_equal(targets.classes.reshape(-1), [1, 0, 1])  # both classes


def test_a_truth_that_fits_another_scales_anchor_is_no_positive_here():
    anchors = np.array([[8.0, 8.0], [40.0, 40.0]])
    truths = np.array([[[0.5, 0.5, 9 / 32, 9 / 32, 1]]])
    coarse = targets_of(empty_head(1, 1, 1), truths, anchors, first_anchor=1, own=1)
    fine = targets_of(empty_head(2, 2, 1), truths, anchors, stride=16, first_anchor=0, own=1)
    assert not coarse.positive.any()
    assert coarse.negative.all()
    assert np.argwhere(fine.positive).tolist() == [[0, 1, 1, 0]]
    assert not coarse.classes.any()


def test_equal_fits_go_to_the_first_anchor():
    truths = np.array([[[0.5, 0.5, 0.5, 0.5, 0]]])
    assert best_anchors(truths, [[8, 16], [16, 8], [8, 16]], (32, 32)).tolist() == [[0]]


def test_anchors_are_compared_in_pixels_of_the_input():
    # 16x16 pixels of a 64 wide and 32 high input: as fractions 0.25 x 0.5.
    truths = np.array([[[0.5, 0.5, 0.25, 0.5, 0]]])
    assert best_anchors(truths, [[8, 32], [16, 16], [32, 8]], (64, 32)).tolist() == [[1]]


@pytest.mark.parametrize(("x", "y"), [(1.0, 0.5), (0.5, 1.0), (1.0, 1.0)])
def test_a_centre_on_the_far_border_lies_in_no_cell(x, y):
    # The original would write into the next row; nothing else is changed here, and nothing is out of range.
    truths = np.array([[[x, y, 0.4, 0.4, 0], [0.1, 0.1, 0.4, 0.4, 1]]])
    targets = targets_of(empty_head(2, 2, 1), truths, np.array([[24.0, 24.0]]))
    assert np.argwhere(targets.positive).tolist() == [[0, 0, 0, 0]]


def test_a_centre_on_a_border_between_cells_belongs_to_the_later_one():
    truths = np.array([[[0.5, 0.0, 0.4, 0.4, 0]]])
    targets = targets_of(empty_head(2, 2, 1), truths, np.array([[24.0, 24.0]]))
    assert np.argwhere(targets.positive).tolist() == [[0, 0, 1, 0]]
    np.testing.assert_array_equal(targets.offset[0, 0, 1, 0], [0, 0])


def test_rows_of_padding_change_nothing():
    head = np.random.default_rng(0).standard_normal((2, 2, 3, 3 * 8))
    truths = random_truths(2, 4, 3, seed=1)
    padded = np.concatenate([truths, np.zeros((2, 3, 5))], axis=1)
    plain, with_padding = targets_of(head, truths, ANCHORS[:3]), targets_of(head, padded, ANCHORS[:3])
    for name in vars(plain):
        np.testing.assert_array_equal(getattr(with_padding, name), getattr(plain, name))


@pytest.mark.parametrize("count", [0, 2])
def test_a_picture_without_objects_is_all_negative(count):
    targets = targets_of(empty_head(2, 2, 3), np.zeros((1, count, 5)), ANCHORS[:3])
    assert targets.negative.all()
    assert not targets.positive.any()
    assert np.isfinite(targets.log_size).all()


@pytest.mark.parametrize(("threshold", "ignored"), [(0.7, True), (0.85, False)])
def test_other_predictions_that_overlap_enough_are_ignored(threshold, ignored):
    # Both anchors lie in the middle of the only cell, like the truth 16x16: overlap 1, and 256 / 320 = 0.8.
    truths = np.array([[[0.5, 0.5, 0.5, 0.5, 0]]])
    targets = targets_of(
        empty_head(1, 1, 2), truths, np.array([[16.0, 16.0], [20.0, 16.0]]), ignore_threshold=threshold
    )
    assert targets.positive.reshape(-1).tolist() == [True, False]
    assert targets.negative.reshape(-1).tolist() == [False, not ignored]


def test_it_is_the_predicted_box_that_must_overlap_and_not_its_anchor():
    head = empty_head(1, 1, 2)
    head[..., 8 + 2] = math.log(16 / 40)  # the second prediction shrinks its anchor to the truth's width
    truths = np.array([[[0.5, 0.5, 0.5, 0.5, 0]]])
    anchors = np.array([[16.0, 16.0], [40.0, 16.0]])
    assert not targets_of(head, truths, anchors).negative.any()
    assert targets_of(empty_head(1, 1, 2), truths, anchors).negative.any()


def test_beyond_the_truth_threshold_a_prediction_is_positive_too():
    truths = np.array([[[0.5, 0.5, 0.5, 0.5, 2]]])
    anchors = np.array([[16.0, 16.0], [20.0, 16.0]])  # the second overlaps by 0.8
    targets = targets_of(empty_head(1, 1, 2), truths, anchors, ignore_threshold=0.9, truth_threshold=0.75)
    assert targets.positive.all()
    assert not targets.negative.any()
    np.testing.assert_allclose(targets.log_size[0, 0, 0, 1], np.log([16 / 20, 1]))
    assert targets.classes[0, 0, 0].tolist() == [[0, 0, 1], [0, 0, 1]]


def test_weights_may_be_left_out():
    truths = np.array([[[0.5, 0.5, 0.5, 0.5, 2]]])
    targets = targets_of(empty_head(1, 1, 1), truths, np.array([[16.0, 16.0]]), weigh_by_size=False)
    assert targets.box_weight.item() == 1


# ------------------------------------------------------------------------------------- against loops


def random_truths(batch, count, classes, seed):
    """Boxes of all sizes, some of them padding, some on one and the same place."""
    rng = np.random.default_rng(seed)
    sizes = rng.uniform(0.05, 0.6, (batch, count, 2))
    truths = np.concatenate(
        [rng.uniform(0, 1, (batch, count, 2)), sizes, rng.integers(0, classes, (batch, count, 1))], 2
    )
    truths[:, 1::3, :4] = truths[:, 0::3, :4][:, : truths[:, 1::3].shape[1]] * (1 + 1e-3)
    truths[rng.random((batch, count)) < 0.2] = 0
    return truths


def loop_iou(a, b):
    """IoU of two boxes cxcywh."""
    width = min(a[0] + a[2] / 2, b[0] + b[2] / 2) - max(a[0] - a[2] / 2, b[0] - b[2] / 2)
    height = min(a[1] + a[3] / 2, b[1] + b[3] / 2) - max(a[1] - a[3] / 2, b[1] - b[3] / 2)
    if width <= 0 or height <= 0:
        return 0.0
    return width * height / (a[2] * a[3] + b[2] * b[3] - width * height)


def loop_best_anchor(truth, anchors, net_size):
    shapes = [(0, 0, anchor[0] / net_size[0], anchor[1] / net_size[1]) for anchor in anchors]
    overlaps = [loop_iou((0, 0, truth[2], truth[3]), shape) for shape in shapes]
    return overlaps.index(max(overlaps))


def loop_targets(head, truths, anchors, stride, first_anchor, own, settings):
    """Section 5 of the specification, one prediction and one truth at a time."""
    batch, rows, columns, channels = head.shape
    depth = channels // own
    shape = (batch, rows, columns, own)
    out = SimpleNamespace(
        positive=np.zeros(shape, bool), negative=np.zeros(shape, bool), offset=np.zeros((*shape, 2)),
        log_size=np.zeros((*shape, 2)), box_weight=np.zeros(shape), classes=np.zeros((*shape, depth - 5)),
    )  # fmt: skip
    net_size = (columns * stride, rows * stride)

    def make_positive(slot, truth):
        _, row, column, index = slot
        anchor = anchors[first_anchor + index]
        out.positive[slot], out.negative[slot] = True, False
        out.offset[slot] = truth[0] * columns - column, truth[1] * rows - row
        out.log_size[slot] = [math.log(truth[2 + i] * net_size[i] / anchor[i]) for i in range(2)]
        out.box_weight[slot] = 2 - truth[2] * truth[3] if settings.weigh_by_size else 1

    for picture in range(batch):
        present = [truth for truth in truths[picture].tolist() if truth[2] > 0]
        claimed = {}
        for truth in present:
            index = loop_best_anchor(truth, anchors, net_size) - first_anchor
            if 0 <= index < own:
                claimed.setdefault((picture, int(truth[1] * rows), int(truth[0] * columns), index), []).append(truth)
        for row, column, index in np.ndindex(shape[1:]):
            slot = (picture, row, column, index)
            t = head[picture, row, column, index * depth :].tolist()
            anchor = anchors[first_anchor + index]
            box = (
                (column + 1 / (1 + math.exp(-t[0]))) / columns,
                (row + 1 / (1 + math.exp(-t[1]))) / rows,
                anchor[0] * math.exp(t[2]) / net_size[0],
                anchor[1] * math.exp(t[3]) / net_size[1],
            )
            overlaps = [loop_iou(box, truth) for truth in present]
            best = max(overlaps, default=0)
            out.negative[slot] = best <= settings.ignore_threshold
            if slot in claimed:
                make_positive(slot, claimed[slot][-1])
                for truth in claimed[slot]:
                    out.classes[slot][int(truth[4])] = 1
            elif best > settings.truth_threshold:
                truth = present[overlaps.index(best)]
                make_positive(slot, truth)
                out.classes[slot][int(truth[4])] = 1
    return out


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(("first_anchor", "own", "stride"), [(0, 3, 8), (2, 3, 16), (0, 5, 32), (4, 1, 32)])
@pytest.mark.parametrize(
    "settings",
    [TargetSettings(), TargetSettings(0.3, weigh_by_size=False), TargetSettings(0.5, truth_threshold=0.4)],
    ids=["shipped", "ignore more", "more positives"],
)
def test_equal_loops(seed, first_anchor, own, stride, settings):
    batch, rows, columns, classes = 3, 96 // stride, 160 // stride, 4
    head = np.random.default_rng(seed).standard_normal((batch, rows, columns, own * (5 + classes))) * 0.7
    truths = random_truths(batch, 9, classes, seed)
    found = targets_of(head, truths, ANCHORS, stride, first_anchor, own, **vars(settings))
    wanted = loop_targets(head, truths, ANCHORS.tolist(), stride, first_anchor, own, settings)
    np.testing.assert_array_equal(found.positive, wanted.positive)
    np.testing.assert_array_equal(found.negative, wanted.negative)
    np.testing.assert_allclose(found.box_weight, wanted.box_weight, atol=1e-12)
    positive = wanted.positive
    np.testing.assert_allclose(found.offset[positive], wanted.offset[positive], atol=1e-12)
    np.testing.assert_allclose(found.log_size[positive], wanted.log_size[positive], atol=1e-12)
    np.testing.assert_array_equal(found.classes[positive], wanted.classes[positive])


def test_the_random_cases_contain_what_they_shall_test():
    truths = [random_truths(3, 9, 4, seed) for seed in range(6)]
    assert any((each[..., 2] == 0).any() for each in truths)
    several = 0
    for seed, each in enumerate(truths):
        head = np.random.default_rng(seed).standard_normal((3, 3, 5, 5 * 9)) * 0.7
        targets = targets_of(head, each, ANCHORS, **vars(TargetSettings(0.3)))
        assert (~targets.positive & ~targets.negative).any(), "nothing is ignored"
        several += (targets.classes.sum(axis=-1) > 1).sum()
    assert several > 0, "no prediction has two classes"


def test_pictures_of_a_batch_do_not_touch_each_other():
    head = np.random.default_rng(0).standard_normal((3, 3, 5, 3 * 9)) * 0.7
    truths = random_truths(3, 9, 4, seed=5)
    together = targets_of(head, truths, ANCHORS[:3], ignore_threshold=0.3)
    for picture in range(3):
        alone = targets_of(
            head[picture : picture + 1], truths[picture : picture + 1], ANCHORS[:3], ignore_threshold=0.3
        )
        for name in ("positive", "negative", "box_weight", "classes"):
            np.testing.assert_array_equal(getattr(together, name)[picture], getattr(alone, name)[0])


def test_targets_have_the_heads_number_type():
    head = np.zeros((1, 2, 2, 8), np.float32)
    targets = targets_of(head, random_truths(1, 3, 3, 0).astype(np.float32), ANCHORS[:1])
    for name in ("offset", "log_size", "box_weight", "classes"):
        assert getattr(targets, name).dtype == np.float32, name


def test_objectness_may_be_the_overlap_of_box_and_truth():
    """Two boxes of one size, the truth's centre half a box to the right: they share a third of their union."""
    head = np.zeros((1, 2, 2, 6), np.float32)  # one anchor, one class; every box is its anchor, in its cell's centre
    anchors, truths = [(16, 16)], np.array([[[0.375, 0.25, 0.25, 0.25, 0]]], np.float32)  # net 64x64, stride 32
    best = best_anchors(truths, anchors, (64, 64))
    one = scale_targets(head, truths, anchors, 32, 0, best, TargetSettings())
    iou = scale_targets(head, truths, anchors, 32, 0, best, TargetSettings(objectness="iou"))
    assert one.positive.sum() == 1
    assert one.objectness[one.positive] == 1
    np.testing.assert_allclose(iou.objectness[iou.positive], 1 / 3, rtol=1e-6)
    assert (iou.objectness[~iou.positive] == 0).all()
