"""Exercises of chapter 8: anchors.

Replace ``raise NotImplementedError`` by your code, then run ``pytest chapters/exercises -k chapter_08``, or call a
check by itself: ``check_iou_of_all()`` checks the function in this file, ``check_iou_of_all(my_function)`` any other.
All sizes are (width, height) in pixels.
"""

import numpy as np

from yolov3.anchors import band_limits
from yolov3.boxes import iou_wh

# 1. Read --------------------------------------------------------------------------------------------------------------


def log_factors(size, anchor):
    """``(t_w, t_h)`` that the network must say so that an anchor becomes a box of this size (section 8.2)."""
    raise NotImplementedError


def check_log_factors(function=log_factors):
    for size, anchor in (((50, 20), (50, 20)), ((100, 45), (116, 90)), ((7, 15), (10, 13))):
        mine, right = np.array(function(size, anchor), float), np.log(np.divide(size, anchor))
        assert mine.shape == (2,), f"return two numbers, t_w and t_h; the shape of your result is {mine.shape}"
        case = f"size {size}, anchor {anchor}"
        assert not np.allclose(mine, np.divide(size, anchor)), f"{case}: that is the factor; t is its logarithm"
        minus = np.allclose(mine, np.subtract(size, anchor)) and np.any(right)
        assert not minus, f"{case}: that is the difference; t is the logarithm of the ratio size / anchor"
        turned = np.allclose(mine, right[::-1]) and not np.isclose(*right)
        assert not turned, f"{case}: t_w comes first, then t_h"
        flipped = np.allclose(mine, -right) and np.any(right)
        assert not flipped, f"{case}: the sign is wrong: a box larger than its anchor needs t above 0"
        base_2 = np.any(right) and np.allclose(mine, right / np.log(2))
        assert not base_2, f"{case}: the natural logarithm, not that to base 2"
        assert np.allclose(mine, right), f"{case}: {mine}, it should be {right}"
    print("log_factors: right")


# 2. A table of overlaps -----------------------------------------------------------------------------------------------


def iou_of_all(sizes, anchors):
    """The IoU of every size with every anchor: ``(n, 2), (k, 2) -> (n, k)``, with NumPy and without a loop.

    ``sizes[:, None]`` has the shape (n, 1, 2); compared with ``anchors[None]``, (1, k, 2), it makes (n, k, 2).
    """
    raise NotImplementedError


def check_iou_of_all(function=iou_of_all):
    rng = np.random.default_rng(0)
    for n, k in ((1, 1), (4, 3), (50, 9)):
        sizes, anchors = rng.uniform(5, 90, (n, 2)), rng.uniform(5, 90, (k, 2))
        mine, right = np.asarray(function(sizes, anchors)), iou_wh(sizes[:, None], anchors[None])
        assert mine.shape == (n, k), f"{n} sizes and {k} anchors: the shape is {mine.shape}, not {(n, k)}"
        area = sizes.prod(axis=1)[:, None] + anchors.prod(axis=1)[None]
        shared = right * area / (1 + right)
        assert not np.allclose(mine, shared), "that is the shared area: divide it by the area that they cover together"
        forgot = np.allclose(mine, shared / area)
        assert not forgot, "the shared area is counted twice below the line: subtract it once"
        wrong = np.argwhere(~np.isclose(mine, right))
        assert len(wrong) == 0, f"wrong at [{', '.join(map(str, wrong[0]))}]: size {sizes[wrong[0][0]].round(1)}"
    print("iou_of_all: right")


# 3. k-means -----------------------------------------------------------------------------------------------------------


def kmeans_step(sizes, centres):
    """One round of k-means with the distance 1 - IoU: ``(n, 2), (k, 2) -> (new centres (k, 2), nearest (n,))``.

    ``nearest[i]`` is the number of the centre with the largest IoU (the first of equal ones).  A centre moves to the
    mean of its sizes; one to which no size came stays where it is.
    """
    raise NotImplementedError


def check_kmeans_step(function=kmeans_step):
    rng = np.random.default_rng(1)
    sizes = rng.uniform(5, 100, (40, 2))
    for centres in (sizes[:3].copy(), sizes[:6].copy(), np.array([[20.0, 20.0], [1e6, 1e6], [70.0, 60.0]])):
        given = centres.copy()
        answer = function(sizes, centres)
        assert isinstance(answer, tuple | list), "return two arrays: (new centres, nearest)"
        assert len(answer) == 2, f"return two arrays, (new centres, nearest), not {len(answer)}"
        new, nearest = answer
        right = iou_wh(sizes[:, None], given[None]).argmax(axis=1)
        assert np.array_equal(centres, given), "the centres that you were given have changed: make new ones"
        assert np.shape(nearest) == (40,), f"nearest has the shape {np.shape(nearest)}, not (40,)"
        ruler = ((sizes[:, None] - given[None]) ** 2).sum(axis=-1).argmin(axis=1)
        by_ruler = np.array_equal(nearest, ruler) and not np.array_equal(nearest, right)
        assert not by_ruler, "you measured with the ruler; the distance is 1 - IoU"
        wrong = np.flatnonzero(np.asarray(nearest) != right)
        assert len(wrong) == 0, f"size {wrong[0]} goes to centre {nearest[wrong[0]]}, it should go to {right[wrong[0]]}"
        assert np.shape(new) == given.shape, f"the new centres have the shape {np.shape(new)}, not {given.shape}"
        for index in range(len(given)):
            mine, members = np.asarray(new)[index], sizes[right == index]
            alone = f"centre {index} got no size: it stays at {given[index]}, yours moved to {mine}"
            assert len(members) or np.array_equal(mine, given[index]), alone
            if len(members):
                wanted = members.mean(axis=0)
                assert np.allclose(mine, wanted), f"centre {index} moved to {mine}, its sizes' mean is {wanted}"
    print("kmeans_step: right")


# 4. Bands -------------------------------------------------------------------------------------------------------------


def stride_of(size):
    """The stride (8, 16 or 32) to whose band a size belongs, by ``sqrt(width * height)`` (section 8.8).

    Up to and including 34 pixels: 8; up to and including 92: 16; above: 32.
    """
    raise NotImplementedError


def check_stride_of(function=stride_of):
    assert band_limits() == (34, 92)
    cases = {
        (34, 34): 8,
        (35, 34): 16,
        (17, 68): 8,
        (92, 92): 16,
        (46, 184): 16,
        (93, 92): 32,
        (400, 10): 16,
        (3, 2): 8,
    }
    for size, right in cases.items():
        mine, side = function(size), np.sqrt(size[0] * size[1])
        assert mine == right, f"{size[0]}x{size[1]}, side of an equal square {side:.1f}: {mine}, it should be {right}"
    print("stride_of: right")


# 5. Lost --------------------------------------------------------------------------------------------------------------


def lost_objects(centres, sizes, anchors, stride):
    """How many objects of one picture get no slot of their own on a grid with cells of ``stride`` pixels.

    centres (n, 2): x and y in pixels; sizes (n, 2); anchors (k, 2), all on this one grid.  An object's slot is the
    cell that holds its centre, and its best anchor by IoU.  Of m objects in one slot, m - 1 are lost.
    """
    raise NotImplementedError


def check_lost_objects(function=lost_objects):
    square, flat = np.array([[20.0, 20.0]]), np.array([[20.0, 20.0], [40.0, 10.0]])
    same_cell = np.array([[5.0, 5.0], [30.0, 31.0]])
    sizes = np.array([[20.0, 22.0], [42.0, 10.0]])
    cases = (
        ("two objects in one cell, one anchor", same_cell, sizes, square, 32, 1),
        ("two objects in one cell, an anchor for each", same_cell, sizes, flat, 32, 0),
        ("the same two on a finer grid, one anchor", same_cell, sizes, square, 16, 0),
        ("three objects in one slot", np.full((3, 2), 40.0), np.full((3, 2), 20.0), flat, 32, 2),
        ("x and y are not interchangeable", np.array([[40.0, 8.0], [8.0, 40.0]]), sizes[[0, 0]], square, 32, 0),
        ("no object", np.zeros((0, 2)), np.zeros((0, 2)), square, 32, 0),
    )
    for name, *arguments, right in cases:
        mine = function(*arguments)
        assert mine == right, f"{name}: {mine} lost, it should be {right}"
    print("lost_objects: right")
