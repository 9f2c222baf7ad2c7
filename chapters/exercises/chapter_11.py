"""Exercises of chapter 11: the loss.

Replace ``raise NotImplementedError`` by your code, then run ``pytest chapters/exercises -k chapter_11``, or call a
check by itself: ``check_box_weight()`` checks the function in this file, ``check_box_weight(my_function)`` any other.
"""

import numpy as np

from minidl import Tensor, ops
from yolov3.loss import yolo_loss

# 1. Predict -----------------------------------------------------------------------------------------------------------


def first_no_object_loss(side, bias):
    """The "no object" term of a fresh network, nearly: as if every prediction were negative, with the logit ``bias``.

    side: of the square input in pixels, such as 416; three anchors on each of the grids of stride 32, 16 and 8.
    """
    raise NotImplementedError


def check_first_no_object_loss(function=first_no_object_loss):
    for side in (416, 256):
        count = 3 * sum((side // stride) ** 2 for stride in (32, 16, 8))
        for bias in (0.0, -4.0):
            right = count * np.log(1 + np.exp(bias))
            mine = function(side, bias)
            case = f"side {side}, bias {bias:g}"
            assert not np.isclose(mine * 3, right), f"{case}: a third: there are three anchors in every cell"
            assert not np.isclose(mine * count, right), f"{case}: that is one prediction's loss; there are {count:,}"
            wrong = count * np.log(1 + np.exp(-bias))
            opposite = bias != 0 and np.isclose(mine, wrong)
            assert not opposite, f"{case}: that is the loss for target 1; the target of a negative is 0"
            assert np.isclose(mine, right), f"{case}: {mine:g}, it should be {right:.1f} ({count:,} predictions)"
    print("first_no_object_loss: right")


# 2. The weight of a box -----------------------------------------------------------------------------------------------


def box_weight(width, height, net_width, net_height):
    """The weight ``2 - w h`` of a box of ``width`` x ``height`` pixels in an input of that many pixels."""
    raise NotImplementedError


def check_box_weight(function=box_weight):
    for case in ((416, 416, 416, 416), (208, 104, 416, 416), (13, 13, 416, 416), (60, 30, 320, 192)):
        right = 2 - case[0] * case[1] / (case[2] * case[3])
        mine = function(*case)
        added = np.isclose(mine, 2 - case[0] / case[2] - case[1] / case[3])
        assert not added, f"{case}: {mine:g}: w and h are multiplied, not added: w h is the share of the area"
        assert mine > 0, f"{case}: {mine:g}: w and h are fractions of the input, not pixels"
        assert np.isclose(mine, right), f"{case}: {mine:g}, it should be {right:g}"
    print("box_weight: right")


# 3. Two gradients -----------------------------------------------------------------------------------------------------


def centre_gradients(t, target):
    """The gradients of both forms of the loss of x at the logits ``t`` (an array).  Return ``(program's, drawn)``.

    The program's is that of BCE of ``sigmoid(t)``, the drawn one that of ``(sigmoid(t) - target)^2 / 2``; leave out the
    weight ``2 - w h``.
    """
    raise NotImplementedError


def check_centre_gradients(function=centre_gradients):
    t, target = np.linspace(-5, 5, 11), np.full(11, 0.7)
    gradients = []
    for loss in (ops.bce_with_logits, lambda x, y: ops.squared_error(ops.sigmoid(x), y)):
        leaf = Tensor(t, requires_grad=True)
        loss(leaf, target).backward()
        gradients.append(leaf.grad)
    answer = function(t.copy(), target.copy())
    assert len(answer) == 2, "return two gradients: (program's, drawn)"
    program, drawn = (np.asarray(each) for each in answer)
    swapped = np.allclose(program, gradients[1])
    assert not swapped, "the first should be the program's, without the factor sigmoid'(t)"
    assert not np.allclose(program, -gradients[0]), (
        "signs: a gradient is prediction minus target; delta is its negative"
    )
    assert np.allclose(program, gradients[0]), "the program's gradient is sigmoid(t) - target"
    assert not np.allclose(drawn, gradients[0]), "the drawn one lacks the chain rule's factor sigmoid (1 - sigmoid)"
    assert np.allclose(drawn, gradients[1]), (
        "the drawn gradient is (sigmoid(t) - target) * sigmoid(t) * (1 - sigmoid(t))"
    )
    print("centre_gradients: right")


# 4. The deltas of a positive ------------------------------------------------------------------------------------------


def positive_deltas(logits, target_xy, target_wh, weight, classes):
    """What the original program computes at a positive prediction: the negative gradient, an array like ``logits``.

    logits: x, y, w, h, objectness, then one for each class; target_xy: of the sigmoids; target_wh: of t_w, t_h; weight:
    ``2 - w h``; classes: 0 or 1 for each class.
    """
    raise NotImplementedError


def check_positive_deltas(function=positive_deltas):
    rng = np.random.default_rng(0)
    for _ in range(4):
        logits = rng.normal(0, 1, 8)
        w, h = rng.uniform(0.2, 0.7, 2)
        x, y = rng.uniform(0.05, 0.95, 2)
        leaf = Tensor(logits.reshape(1, 1, 1, 8), requires_grad=True)
        truth = np.array([[[x, y, w, h, 1]]])  # a grid of one cell: x and y are the places in it
        yolo_loss((leaf,), truth, (np.array([[32.0, 32.0]]),), (64,)).total.backward()
        right = -leaf.grad.reshape(8)
        targets = np.array([x, y]), np.log(np.array([w, h]) * 64 / 32)
        mine = np.asarray(function(logits.copy(), *targets, 2 - w * h, np.array([0.0, 1.0, 0.0])))
        assert mine.shape == (8,), f"one delta for each logit, shape (8,); yours is {mine.shape}"
        assert not np.allclose(mine, -right), "a delta is target minus prediction: your signs are those of the gradient"
        assert not np.allclose(mine[:4], right[:4] / (2 - w * h)), "the weight 2 - w h is missing in x, y, w, h"
        for name, place in (("x", 0), ("y", 1), ("w", 2), ("h", 3), ("objectness", 4)):
            hint = "" if place != 2 else " (raw t_w, no sigmoid, no exponential)"
            assert np.isclose(mine[place], right[place]), f"{name}: {mine[place]:g}, not {right[place]:g}{hint}"
        assert np.allclose(mine[5:], right[5:]), f"classes: {mine[5:]}, they should be {right[5:]}, without a weight"
    print("positive_deltas: right")


# 5. No object ---------------------------------------------------------------------------------------------------------


def no_object_loss(objectness, best_iou, positive, threshold):
    """Term 4 of the loss: summed over the negative predictions, with target 0.

    objectness: logits (predictions,), maybe +-1000; best_iou: each predicted box's largest IoU with a truth; positive:
    True where a prediction is positive; threshold: above it a prediction is ignored.
    """
    raise NotImplementedError


def check_no_object_loss(function=no_object_loss):
    objectness = np.array([2.0, -1.0, 0.5, -4.0, 3.0])
    best_iou = np.array([0.8, 0.6, 0.1, 0.0, 0.3])
    positive = np.array([True, False, False, False, True])
    cost = np.log1p(np.exp(objectness))
    for threshold, rows in ((0.5, [2, 3]), (0.7, [1, 2, 3])):
        mine, right = float(function(objectness.copy(), best_iou.copy(), positive.copy(), threshold)), cost[rows].sum()
        case = f"threshold {threshold}"
        everything = np.isclose(mine, cost[~positive].sum()) and threshold == 0.5
        assert not everything, f"{case}: prediction 1 overlaps a truth by 0.6: it is ignored and costs nothing"
        with_positive = np.isclose(mine, cost[best_iou <= threshold].sum())
        assert not with_positive, f"{case}: prediction 4 is positive, although its IoU is low: not in this term"
        yes = np.isclose(mine, np.log1p(np.exp(-objectness[rows])).sum())
        assert not yes, f"{case}: that is the loss for target 1; a negative prediction has target 0"
        assert not np.isclose(mine, right / len(rows)), f"{case}: a sum, please, not a mean"
        assert np.isclose(mine, right), f"{case}: {mine:g}, it should be {right:g}, from predictions {rows}"
    large = float(function(np.array([1000.0]), np.zeros(1), np.zeros(1, bool), 0.5))
    assert np.isclose(large, 1000), f"a logit of 1000 should cost 1000, not {large}: use the stable form of chapter 10"
    print("no_object_loss: right")
