"""Boxes: the two formats, and overlap by hand, against the original's numbers, and by its properties."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from yolov3.boxes import box_area, clip_boxes, cxcywh_to_xyxy, intersection_area, iou_wh, iou_xyxy, xyxy_to_cxcywh


def boxes(*rows):
    return np.array(rows, np.float64)


def corner_boxes():
    """Boxes with corners in order, some without area."""
    coordinates = st.floats(-1000, 1000, width=32)
    return arrays(np.float64, (5, 4), elements=coordinates).map(
        lambda values: np.concatenate(
            [np.minimum(values[:, :2], values[:, 2:]), np.maximum(values[:, :2], values[:, 2:])], 1
        )
    )


# ---------------------------------------------------------------------------------------- formats


def test_formats_by_hand():
    np.testing.assert_array_equal(cxcywh_to_xyxy(boxes([10, 20, 4, 6])), boxes([8, 17, 12, 23]))
    np.testing.assert_array_equal(xyxy_to_cxcywh(boxes([8, 17, 12, 23])), boxes([10, 20, 4, 6]))


@pytest.mark.parametrize("shape", [(4,), (0, 4), (3, 4), (2, 3, 5, 4)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_formats_round_trip(shape, dtype):
    original = np.random.default_rng(0).uniform(0, 100, shape).astype(dtype)
    back = xyxy_to_cxcywh(cxcywh_to_xyxy(original))
    assert back.dtype == dtype
    np.testing.assert_allclose(back, original, atol=1e-4 if dtype == np.float32 else 1e-12)
    np.testing.assert_allclose(cxcywh_to_xyxy(xyxy_to_cxcywh(original)), original, atol=1e-4)


def test_clipping_moves_every_corner_inside():
    inside = clip_boxes(boxes([-5, 3, 20, 99], [1, 2, 3, 4], [12, 60, 15, 70]), 10, 50)
    np.testing.assert_array_equal(inside, boxes([0, 3, 10, 50], [1, 2, 3, 4], [10, 50, 10, 50]))


def test_area():
    np.testing.assert_array_equal(box_area(boxes([1, 2, 4, 7], [3, 3, 3, 9])), [15, 0])


# ---------------------------------------------------------------------------------------- overlap


@pytest.mark.parametrize(
    ("other", "area"),
    [
        ([0, 0, 4, 5], 20),
        ([-9, -9, 9, 9], 20),  # one inside the other
        ([3, 2, 6, 9], 1 * 3),
        ([4, 0, 8, 5], 0),  # touching
        ([9, 9, 10, 10], 0),  # apart in both directions: not the product of two negative sides
        ([3, 4, 2, 9], 0),  # right of its own right side
    ],
)
def test_intersection_by_hand(other, area):
    assert intersection_area(boxes([0, 0, 4, 5]), boxes(other)).tolist() == [area]
    assert intersection_area(boxes(other), boxes([0, 0, 4, 5])).tolist() == [area]


def test_intersection_counts_the_pixels_in_both_boxes():
    rng = np.random.default_rng(2)
    corners = np.sort(rng.integers(0, 12, (9, 2, 2)), axis=1).reshape(9, 4)
    drawn = np.zeros((9, 12, 12), bool)
    for mask, (left, top, right, bottom) in zip(drawn, corners, strict=True):
        mask[top:bottom, left:right] = True
    shared = intersection_area(corners[:, None], corners[None, :])
    np.testing.assert_array_equal(shared, (drawn[:, None] & drawn[None, :]).sum(axis=(2, 3)))


@pytest.mark.parametrize(
    ("other", "overlap"),
    [
        ([0, 0, 4, 4], 1),
        ([2, 0, 6, 4], 8 / 24),  # half of each
        ([1, 1, 3, 3], 4 / 16),  # one inside the other
        ([3, 3, 5, 6], 1 / (16 + 6 - 1)),
        ([4, 0, 8, 4], 0),  # touching
        ([9, 9, 10, 10], 0),
        ([5, 5, 6, 3], 0),
        ([2, 2, 2, 2], 0),  # a point
    ],
)
def test_iou_by_hand(other, overlap):
    assert iou_xyxy(boxes([0, 0, 4, 4]), boxes(other))[0] == pytest.approx(overlap, abs=1e-15)


def test_boxes_without_area_have_no_overlap_with_themselves():
    assert iou_xyxy(boxes([2, 2, 2, 2]), boxes([2, 2, 2, 2]))[0] == 0


def test_plus_one_counts_pixels():
    # Pixels 0..3 and 2..5 in both directions: 4x4 each, 2x2 shared.
    assert iou_xyxy(boxes([0, 0, 3, 3]), boxes([2, 2, 5, 5]), plus_one=True)[0] == pytest.approx(4 / 28)
    assert iou_xyxy(boxes([0, 0, 3, 3]), boxes([4, 0, 7, 3]), plus_one=True)[0] == 0  # neighbours
    assert iou_xyxy(boxes([7, 7, 7, 7]), boxes([7, 7, 7, 7]), plus_one=True)[0] == 1  # one pixel


def test_iou_broadcasts_to_a_matrix():
    a = np.sort(np.random.default_rng(0).uniform(0, 9, (3, 2, 2)), axis=1).reshape(3, 4)
    b = np.sort(np.random.default_rng(1).uniform(0, 9, (5, 2, 2)), axis=1).reshape(5, 4)
    matrix = iou_xyxy(a[:, None], b[None, :])
    assert matrix.shape == (3, 5)
    assert matrix.max() > 0.1
    for i in range(3):
        for j in range(5):
            assert matrix[i, j] == iou_xyxy(a[i], b[j])


def test_no_boxes_at_all():
    none = np.zeros((0, 4), np.float32)
    assert iou_xyxy(none[:, None], boxes([0, 0, 1, 1])[None]).shape == (0, 1)
    assert iou_xyxy(none, none).shape == (0,)
    assert intersection_area(none[:, None], boxes([0, 0, 1, 1])[None]).shape == (0, 1)
    assert clip_boxes(none, 5, 5).shape == (0, 4)
    assert box_area(none).shape == (0,)


def test_iou_is_the_originals(golden):
    functions = json.loads((golden / "functions.json").read_text())
    rows = np.array(functions["nms_in_7x_xywh_p0_p1"]).reshape(7, 6)
    corners = cxcywh_to_xyxy(rows[:, :4])
    matrix = iou_xyxy(corners[:, None], corners[None, :])
    np.testing.assert_allclose(matrix.reshape(-1), functions["nms_iou_7x7"], atol=1e-6)


@given(corner_boxes(), corner_boxes())
def test_iou_is_symmetric_and_a_fraction(a, b):
    overlap = iou_xyxy(a, b)
    np.testing.assert_array_equal(overlap, iou_xyxy(b, a))
    assert ((overlap >= 0) & (overlap <= 1)).all()


@given(corner_boxes())
def test_a_box_overlaps_itself_wholly(a):
    np.testing.assert_array_equal(iou_xyxy(a, a), box_area(a) > 0)


@given(corner_boxes(), corner_boxes(), st.sampled_from([-64.0, 0.5, 32.0]))
def test_iou_does_not_depend_on_the_unit(a, b, unit):
    scaled = [np.sort((each * unit).reshape(-1, 2, 2), axis=1).reshape(-1, 4) for each in (a, b)]
    np.testing.assert_allclose(iou_xyxy(*scaled), iou_xyxy(a, b), atol=1e-12)


def test_iou_of_sizes_is_that_of_boxes_with_a_common_corner():
    sizes = np.random.default_rng(0).uniform(1, 50, (4, 2))
    others = np.random.default_rng(1).uniform(1, 50, (6, 2))
    found = iou_wh(sizes[:, None], others[None, :])
    corner, other_corner = np.zeros((4, 2)), np.zeros((6, 2))
    as_boxes = np.concatenate([corner, sizes], 1)[:, None], np.concatenate([other_corner, others], 1)[None, :]
    np.testing.assert_allclose(found, iou_xyxy(*as_boxes), rtol=1e-12)
    assert iou_wh(boxes([10, 20]), boxes([20, 10]))[0] == pytest.approx(100 / 300)
    assert iou_wh(boxes([0, 20]), boxes([0, 20]))[0] == 0
