"""Exercises of chapter 0: a tour.

Replace ``raise NotImplementedError`` by your code, then run ``pytest chapters/exercises -k chapter_00``, or call a
check by itself: ``check_box_count()`` checks the function in this file, ``check_box_count(my_function)`` any other.
"""

import numpy as np

from yolov3.decode import Predictions
from yolov3.postprocess import select

# 1. Read --------------------------------------------------------------------------------------------------------------


def head_shape(height, width, stride, classes):
    """The shape of one head, without the batch: (rows, columns, channels), for an input of height x width pixels.

    Each cell has three anchors, and per anchor 4 numbers for the box, 1 for the objectness, and 1 per class.
    """
    raise NotImplementedError


def check_head_shape(function=head_shape):
    cases = {(416, 416, 32, 80): (13, 13, 255), (128, 192, 8, 3): (16, 24, 24), (320, 608, 16, 20): (20, 38, 75)}
    for case, right in cases.items():
        mine = tuple(function(*case))
        where = f"height, width, stride, classes = {case}: your shape {mine}"
        assert len(mine) == 3, f"{where} should have three numbers: rows, columns, channels"
        assert mine[:2] != (right[1], right[0]) or right[0] == right[1], f"{where} has columns before rows"
        assert mine[:2] == right[:2], f"{where}: rows, columns should be {right[:2]}, the sides divided by the stride"
        assert mine[2] != 3 * (4 + case[3]), f"{where}: you forgot the objectness, 1 number per anchor"
        assert mine[2] != 5 + case[3], f"{where}: these are the channels of one anchor, and a cell has three"
        assert mine[2] == right[2], f"{where}: the channels should be {right[2]}"
        whole = all(isinstance(each, int | np.integer) for each in mine)
        assert whole, f"{where} should be of whole numbers: divide by //"
    print("head_shape: right")


# 2. Count -------------------------------------------------------------------------------------------------------------


def box_count(height, width):
    """How many boxes YOLOv3 predicts for an input of height x width pixels, both multiples of 32: a whole number.

    Its heads have the strides 32, 16 and 8, and each cell predicts three boxes.
    """
    raise NotImplementedError


def check_box_count(function=box_count):
    for height, width in ((416, 416), (608, 608), (128, 192), (32, 32)):
        right = sum(3 * (height // stride) * (width // stride) for stride in (32, 16, 8))
        mine = function(height, width)
        where = f"{height}x{width}: {mine}"
        assert mine * 3 != right, f"{where}: these are the cells; each predicts three boxes"
        assert mine != 3 * (height // 32) * (width // 32), f"{where}: this is the coarsest head alone; there are three"
        assert mine == right, f"{where}, but it should be {right}"
        assert not isinstance(mine, float), f"{where}: a count is a whole number (use //)"
    print("box_count: right")


# 3. Build -------------------------------------------------------------------------------------------------------------


def sure_enough(objectness, class_probabilities, confidence):
    """The stage of the threshold, for one picture: which (box, class) pairs are sure enough?

    objectness: (boxes,); class_probabilities: (boxes, classes).  The score of a pair is objectness times class
    probability; it counts if it is *greater* than ``confidence``.  A box may count with several classes, or with none.

    Return ``(scores, labels)``, two arrays (pairs,), box after box and, within a box, class after class.
    ``np.nonzero`` of a 2-d array gives the rows and the columns of all places that are true, in just that order.
    """
    raise NotImplementedError


def check_sure_enough(function=sure_enough):
    hand = np.array([0.9, 0.5, 0.8]), np.array([[0.9, 0.9], [0.4, 0.1], [0.1, 0.75]])
    scores, labels = (np.asarray(each) for each in function(*hand, 0.25))
    assert scores.shape == labels.shape, f"{scores.shape} scores, but {labels.shape} labels: give one of each per pair"
    assert len(scores) != 2, "the first box has two classes that are sure enough, and both count"
    assert len(scores) == 3, f"three pairs are above 0.25: .81, .81 and .60; you gave {scores}"
    assert np.allclose(scores, [0.81, 0.81, 0.6]), f"scores are objectness x probability, box after box, not {scores}"
    assert labels.tolist() == [0, 1, 1], f"the labels should be 0, 1, 1, not {labels.tolist()}"
    scores, labels = function(np.array([0.5]), np.array([[0.5, 0.6]]), 0.25)
    assert len(scores) == 1, "a score that is equal to the threshold does not count: greater, not at least"
    rng = np.random.default_rng(0)
    predictions = Predictions(rng.random((1, 200, 4)), rng.random((1, 200)), rng.random((1, 200, 5)))
    _, right_scores, right_labels = select(predictions, 0, 0.4)
    scores, labels = function(predictions.objectness[0], predictions.class_probabilities[0], 0.4)
    assert len(scores) == len(right_scores), f"200 random boxes: {len(scores)} pairs, it should be {len(right_scores)}"
    assert np.allclose(scores, right_scores), "200 random boxes: the right number of pairs, but other scores or order"
    assert np.array_equal(labels, right_labels), "200 random boxes: the scores are right, the labels are not"
    print("sure_enough: right")
