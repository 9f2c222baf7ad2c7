"""Boxes around polygons and run-length masks, by hand and as pycocotools finds them."""

import numpy as np
import pytest

from yolov3.data.outlines import mask_box, segmentation_box, unpack_counts
from yolov3.errors import UserError


def test_polygons_by_hand():
    assert segmentation_box([[1, 2, 5, 2, 3, 9.5]]) == (1, 2, 5, 9.5)
    assert segmentation_box([[1, 2, 5, 2, 3, 9.5], [-1, 4, 0, 3, 0, 4]]) == (-1, 2, 5, 9.5)


def test_masks_by_hand():
    # 4 wide, 3 high; pixels count down the columns: 0 1 2 | 3 4 5 | 6 7 8 | 9 10 11
    assert mask_box({"size": [3, 4], "counts": [4, 1, 7]}) == (1, 1, 2, 2)
    assert mask_box({"size": [3, 4], "counts": [4, 2, 1, 1, 4]}) == (1, 1, 3, 3)
    assert mask_box({"size": [3, 4], "counts": [5, 2, 5]}) == (1, 0, 3, 3)  # goes on at the top of the next column
    assert mask_box({"size": [3, 4], "counts": [0, 12]}) == (0, 0, 4, 3)
    assert mask_box({"size": [3, 4], "counts": [4, 1, 6, 0, 1]}) == (1, 1, 2, 2)  # a run of nothing
    assert mask_box({"size": [3, 4], "counts": [0, 0, 4, 1, 7]}) == (1, 1, 2, 2)


@pytest.mark.parametrize("seed", range(20))
def test_masks_as_pycocotools_finds_them(seed):
    coco_mask = pytest.importorskip("pycocotools.mask")
    random = np.random.default_rng(seed)
    height, width = random.integers(1, 60, 2)
    mask = np.asfortranarray(random.random((height, width)) < random.choice([0.02, 0.5, 0.98]), dtype=np.uint8)
    mask[random.integers(height), random.integers(width)] = 1
    packed = coco_mask.encode(mask)
    text = {"size": [int(side) for side in packed["size"]], "counts": packed["counts"].decode()}
    counts = unpack_counts(text["counts"])
    inside = np.arange(len(counts)) % 2
    np.testing.assert_array_equal(np.repeat(inside, counts), mask.flatten("F"))
    left, top, wide, high = coco_mask.toBbox(packed)
    assert mask_box(text) == mask_box(text | {"counts": counts}) == (left, top, left + wide, top + high)


REFUSED = [
    ([[1, 2, 3, 4]], "three or more corners"),
    ([[1, 2, 3, 4, 5]], "three or more corners"),
    ([[1, 2, 3, 4, 5, "6"]], "three or more corners"),
    ([[1, 2, 3, 4, 5, True]], "three or more corners"),
    ([1, 2, 3, 4, 5, 6], "three or more corners"),
    ([[1, 2, 3, 4, 5, 10**400]], "no number that fits"),
    ([], "neither a bbox"),
    ("polygon", "neither a bbox"),
    (7, "neither a bbox"),
    ({}, "needs a size"),
    ({"size": [3, 0], "counts": []}, "needs a size"),
    ({"size": [3, 2.0], "counts": [6]}, "needs a size"),
    ({"size": [10**30, 3], "counts": [6]}, "needs a size"),
    ({"size": [3, 4]}, "lengths of runs"),
    ({"size": [3, 4], "counts": [13]}, "lengths of runs"),
    ({"size": [3, 4], "counts": [-1, 13]}, "lengths of runs"),
    ({"size": [3, 4], "counts": [5, "x"]}, "lengths of runs"),
    ({"size": [3, 4], "counts": [5, 5]}, "cover 10 pixels of 4x3"),
    ({"size": [3, 4], "counts": [12]}, "holds no pixel"),
    ({"size": [3, 4], "counts": [12, 0]}, "holds no pixel"),
    ({"size": [3, 4], "counts": "\x00"}, "as COCO writes them"),
    ({"size": [3, 4], "counts": "o" * 1000}, "as COCO writes them"),
    ({"size": [3, 4], "counts": "4Q"}, "middle of a number"),
]


@pytest.mark.parametrize(("segmentation", "says"), REFUSED, ids=[str(number) for number in range(len(REFUSED))])
def test_what_is_no_outline_is_refused_with_a_reason(segmentation, says):
    with pytest.raises(UserError, match=says):
        segmentation_box(segmentation)


def test_a_forged_size_costs_no_memory():
    height = width = 2**24 - 1  # a mask of 281 terabytes
    assert mask_box({"size": [height, width], "counts": [height, 1, height * (width - 1) - 1]}) == (1, 0, 2, 1)
