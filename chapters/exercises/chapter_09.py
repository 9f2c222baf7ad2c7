"""Exercises of chapter 9: boxes and targets.

Replace ``raise NotImplementedError`` by your code, then run ``pytest chapters/exercises -k chapter_09``, or call a
check by itself: ``check_iou()`` checks the function in this file, ``check_iou(my_function)`` any other.
"""

import numpy as np

from yolov3.anchors import PUBLISHED_ANCHORS
from yolov3.boxes import iou_xyxy
from yolov3.decode import decode_boxes

# 1. Read --------------------------------------------------------------------------------------------------------------


def who_learns_what():
    """Which of the losses "objectness", "box" and "classes" does each kind of prediction feel?

    Return a dictionary with the keys "positive", "ignored" and "negative"; each value is a set of those names.
    """
    raise NotImplementedError


def check_who_learns_what(function=who_learns_what):
    answer = {kind: set(losses) for kind, losses in function().items()}
    assert set(answer) == {"positive", "ignored", "negative"}, f"three keys, please; yours are {sorted(answer)}"
    strange = set().union(*answer.values()) - {"objectness", "box", "classes"}
    assert not strange, f"unknown loss {strange}: choose among objectness, box and classes"
    assert len(answer["positive"]) == 3, "a positive prediction answers for a truth: it learns everything there is"
    assert not answer["ignored"], "an ignored prediction is left alone: no loss at all, an empty set"
    assert "objectness" in answer["negative"], "a negative prediction must learn to say no"
    assert len(answer["negative"]) == 1, "a negative prediction has no object: there is no box and no class to learn"
    print("who_learns_what: right")


# 2. Decode ------------------------------------------------------------------------------------------------------------


def decode_one(t, cell, anchor, stride, net):
    """The box that four numbers mean.

    t: (tx, ty, tw, th); cell: (column, row); anchor: (width, height) in pixels; stride: pixels per cell; net: side of
    the square input in pixels.  Return (centre x, centre y, width, height) as fractions of the input.
    """
    raise NotImplementedError


def check_decode_one(function=decode_one):
    rng = np.random.default_rng(0)
    for trial in range(6):
        t = np.zeros(4) if trial == 0 else rng.normal(0, 1, 4)
        stride = (32, 16, 8)[trial % 3]
        side = 416 // stride
        column, row = (int(number) for number in rng.integers(0, side, 2))
        head = np.zeros((1, side, side, 18))
        head[0, row, column, :4] = t
        anchor = PUBLISHED_ANCHORS[stride][0]
        right = decode_boxes(head, PUBLISHED_ANCHORS[stride], stride)[0, row, column, 0]
        mine = np.asarray(function(t, (column, row), anchor, stride, 416), float)
        case = f"t = {t.round(2)}, cell {(column, row)}, anchor {anchor}, stride {stride}"
        assert mine.shape == (4,), f"return four numbers; your result has the shape {mine.shape}"
        assert not np.allclose(mine, right * 416), f"{case}: right, but in pixels; divide by the side of the input"
        swapped = column != row and np.allclose(mine[:2] - right[:2], np.array([row - column, column - row]) / side)
        assert not swapped, f"{case}: x belongs to the column, y to the row"
        raw = (np.array([column, row]) + t[:2]) / side
        assert not np.allclose(mine[:2], raw), f"{case}: the sigmoid of tx and ty is missing"
        straight = np.allclose(mine[2:], np.multiply(anchor, t[2:]) / 416)
        assert not straight, f"{case}: the anchor is multiplied by e^t, not by t"
        for name, place in (("centre x", 0), ("centre y", 1), ("width", 2), ("height", 3)):
            assert np.isclose(mine[place], right[place]), f"{case}: {name} is {mine[place]:g}, not {right[place]:g}"
    print("decode_one: right")


# 3. Encode ------------------------------------------------------------------------------------------------------------


def encode_one(box, anchor, stride, net):
    """The targets of a truth: ``((column, row), (x, y), (t_w, t_h))``.

    box: (centre x, centre y, width, height) as fractions of the input; the others as in ``decode_one``.  x and y are
    the targets of the sigmoids, 0 to 1: the centre's place in its cell, in cells.
    """
    raise NotImplementedError


def check_encode_one(function=encode_one):
    rng = np.random.default_rng(1)
    for _ in range(5):
        box = np.concatenate([rng.uniform(0.05, 0.95, 2), rng.uniform(0.05, 0.5, 2)])
        anchor, stride, net = rng.uniform(10, 200, 2), int(rng.choice([8, 16, 32])), 416
        cell, offset, log_size = (np.asarray(each, float) for each in function(box, anchor, stride, net))
        case = f"box {box.round(3)}, stride {stride}"
        right = np.floor(box[:2] * net / stride)
        assert np.array_equal(cell, np.round(cell)), f"{case}: column and row are whole numbers, not {cell}"
        assert np.array_equal(cell, right), f"{case}: the centre lies in cell {right} (column, row), not {cell}"
        inside = box[:2] * net / stride - right
        assert not np.allclose(offset, inside * stride), f"{case}: x and y are in pixels; they should be in cells"
        assert np.allclose(offset, inside), f"{case}: x and y should be {inside}, not {offset}"
        sizes = np.log(box[2:] * net / anchor)
        assert not np.allclose(log_size, np.exp(sizes)), f"{case}: t_w and t_h are logarithms of the ratio"
        assert not np.allclose(log_size, -sizes), f"{case}: the ratio is upside down: size over anchor"
        assert np.allclose(log_size, sizes), f"{case}: t_w and t_h should be {sizes}, not {log_size}"
    print("encode_one: right")


# 4. IoU ---------------------------------------------------------------------------------------------------------------


def iou(a, b):
    """Intersection over union of two boxes (left, top, right, bottom), as a number; 0 where they share nothing."""
    raise NotImplementedError


def check_iou(function=iou):
    cases = {
        "equal boxes": ((0, 0, 4, 4), (0, 0, 4, 4)),
        "one moved by 2 right and 1 down": ((1, 1, 5, 5), (3, 2, 7, 6)),
        "one inside the other": ((0, 0, 10, 10), (2, 3, 5, 6)),
        "apart to the side": ((0, 0, 2, 2), (5, 0, 7, 2)),
        "apart in both directions": ((0, 0, 2, 2), (5, 5, 7, 7)),
        "touching": ((0, 0, 2, 2), (2, 0, 4, 2)),
    }
    for name, (a, b) in cases.items():
        mine, right = function(a, b), float(iou_xyxy(np.array(a, float), np.array(b, float)))
        if name == "apart in both directions":
            assert np.isclose(mine, 0), (
                f"{name}: {mine:g}; two negative overlaps make a positive product: use max(.., 0)"
            )
        assert mine >= 0, f"{name}: {mine:g} is negative; an overlap cannot be less than 0"
        twice = right > 0 and np.isclose(mine, right / (1 + right))
        assert not twice, f"{name}: {mine:g}; the sum of both areas counts the shared part twice: subtract it once"
        assert np.isclose(mine, right), f"{name}, {a} and {b}: {mine:g}, it should be {right:g}"
    print("iou: right")


# 5. Responsible -------------------------------------------------------------------------------------------------------


def responsible(box, net):
    """Which prediction answers for a truth: ``(stride, row, column, anchor)``.

    box: (centre x, centre y, width, height) as fractions of the square input of side ``net``.  The anchors are
    ``PUBLISHED_ANCHORS``, ``{8: (three sizes), 16: ..., 32: ...}`` in pixels; anchor is 0, 1 or 2, the number within
    its stride.  The best shape is the one of largest IoU with a common corner.
    """
    raise NotImplementedError


def check_responsible(function=responsible):
    cases = (
        ((0.52, 0.31, 120 / 416, 88 / 416), (32, 4, 6, 0)),
        ((0.10, 0.90, 11 / 416, 14 / 416), (8, 46, 5, 0)),
        ((0.70, 0.20, 60 / 416, 110 / 416), (16, 5, 18, 2)),
        ((0.33, 0.66, 40 / 416, 20 / 416), (8, 34, 17, 2)),
        ((0.50, 0.50, 1.00, 1.00), (32, 6, 6, 2)),
    )
    for box, right in cases:
        mine = tuple(int(number) for number in function(box, 416))
        size = f"a truth of {box[2] * 416:.0f} x {box[3] * 416:.0f} px at {box[:2]}"
        assert len(mine) == 4, f"return (stride, row, column, anchor); you returned {mine}"
        assert mine[0] == right[0], f"{size}: its best anchor has stride {right[0]}, not {mine[0]}"
        assert mine[3] == right[3], f"{size}: its best anchor of stride {right[0]} is number {right[3]}, not {mine[3]}"
        swapped = mine[1:3] == (right[2], right[1]) and right[1] != right[2]
        assert not swapped, f"{size}: row and column are swapped"
        assert mine == right, f"{size}: the centre lies in (row, column) {right[1:3]}, not {mine[1:3]}"
    print("responsible: right")


# 6. Three kinds -------------------------------------------------------------------------------------------------------


def kinds(ious, chosen, threshold):
    """Sort predictions: a list of the words "positive", "ignored", "negative", one for each prediction.

    ious: (predictions, truths), the overlap of each predicted box with each truth; chosen: for each truth the number of
    the prediction that answers for it; threshold: above it (not at it) a prediction is ignored.
    """
    raise NotImplementedError


def check_kinds(function=kinds):
    ious = np.array([[0.9, 0.1], [0.2, 0.3], [0.6, 0.0], [0.5, 0.5], [0.1, 0.8], [0.0, 0.0]])
    for threshold, right in ((0.5, "ININ" + "IP"), (0.7, "INNN" + "IP"), (0.85, "INNNNP")):
        names = {"P": "positive", "I": "ignored", "N": "negative"}
        expected = [names[letter] for letter in right]
        expected[1] = "positive"  # a truth chose prediction 1, although others overlap it more
        mine = list(function(ious.copy(), [1, 5], threshold))
        assert len(mine) == 6, f"6 predictions, so 6 words; you returned {len(mine)}"
        for number in (1, 5):
            hint = "whatever its overlap: it was chosen by its anchor's shape"
            assert mine[number] == "positive", f"prediction {number} is positive, {hint}; you say {mine[number]}"
        for number, (word, should) in enumerate(zip(mine, expected, strict=True)):
            largest = ious[number].max()
            why = f"its largest IoU is {largest:g}, the threshold {threshold:g}"
            assert word == should, f"prediction {number} is {should}, not {word}: {why}"
    print("kinds: right")
