"""Exercises of chapter 12: training.

Replace ``raise NotImplementedError`` by your code, then run ``pytest chapters/exercises -k chapter_12``, or call a
check by itself: ``check_learning_rate()`` checks the function in this file, ``check_learning_rate(mine)`` any other.
"""

import math

import numpy as np

from minidl import schedules
from yolov3.anchors import band_limits

# 1. Read --------------------------------------------------------------------------------------------------------------


def steps_of_a_run(pictures, batch, epochs):
    """How many steps a run takes that shows ``pictures`` pictures in each of its epochs, ``batch`` of them per step.

    The pictures that are left over at the end of an epoch, too few for a whole batch, are not shown in it.
    """
    raise NotImplementedError


def check_steps_of_a_run(function=steps_of_a_run):
    for pictures, batch, epochs in ((292, 8, 41), (16, 8, 2), (65, 64, 3)):
        right, mine = pictures // batch * epochs, function(pictures, batch, epochs)
        where = f"{pictures} pictures, batches of {batch}, {epochs} epochs: {mine}"
        assert mine != math.ceil(pictures / batch) * epochs or mine == right, f"{where}: no step has a part of a batch"
        assert mine != pictures * epochs // batch or mine == right, f"{where}: each epoch leaves some pictures out"
        assert mine == right, f"{where}, but it should be {right}"
        assert not isinstance(mine, float), f"{where}: a count is a whole number (use //)"
    print("steps_of_a_run: right")


# 2. What the bias costs -----------------------------------------------------------------------------------------------


def first_loss_of_empty_boxes(height, width, bias):
    """The loss, per picture, of all boxes of an untrained YOLOv3, if none of them holds anything.

    The input has height x width pixels; the heads have the strides 32, 16, 8 and three boxes per cell.  The logit of
    every objectness is ``bias``, so an empty box costs ``-ln(1 - sigmoid(bias)) = ln(1 + e^bias)``.
    """
    raise NotImplementedError


def check_first_loss_of_empty_boxes(function=first_loss_of_empty_boxes):
    for height, width, bias in ((96, 96, 0.0), (96, 96, -4.0), (416, 416, -4.0), (192, 256, 0.0)):
        cells = sum((height // stride) * (width // stride) for stride in (32, 16, 8))
        right, mine = 3 * cells * math.log1p(math.exp(bias)), float(function(height, width, bias))
        where = f"{height}x{width}, bias {bias:g}: {mine:.2f}"
        assert mine >= 0, f"{where}: a loss is not negative; is there a minus too many?"
        assert not math.isclose(3 * mine, right, rel_tol=1e-3), f"{where}: each cell has three boxes"
        assert bias == 0 or not math.isclose(mine, 3 * cells * math.log1p(math.exp(-bias)), rel_tol=1e-3), (
            f"{where}: this is the loss of boxes that hold something, ln(1 + e^-bias)"
        )
        assert math.isclose(mine, right, rel_tol=1e-3), f"{where}, but it should be {right:.2f}"
    print("first_loss_of_empty_boxes: right")


# 3. Build -------------------------------------------------------------------------------------------------------------


def learning_rate(step, peak, total, warm_up):
    """The rate of step number ``step`` (the first is 1).

    Below ``warm_up`` it is ``peak * step / warm_up``.  From there on it is half a cosine wave, counted from step 0:
    with ``p = step / total``, the rate is ``peak * (0.01 + 0.99 * (1 + cos(pi * p)) / 2)``.
    """
    raise NotImplementedError


def check_learning_rate(function=learning_rate):
    right = schedules.burn_in(schedules.cosine(3e-3, total=200), steps=50, power=1)
    for step in (1, 25, 49, 50, 51, 100, 150, 200):
        mine, wanted = function(step, 3e-3, 200, 50), right(step)
        where = f"step {step} of 200, peak 0.003, warm-up 50: {mine:.6f}"
        if step < 50:
            assert not math.isclose(mine, 3e-3 * (step - 1) / 50), f"{where}: steps count from 1, the first is not 0"
            assert not math.isclose(mine, 3e-3 * (step / 50) ** 4), f"{where}: a straight line, not the fourth power"
        else:
            late = 3e-3 * (0.01 + 0.99 * (1 + math.cos(math.pi * (step - 50) / 150)) / 2)
            assert math.isclose(late, wanted) or not math.isclose(mine, late), (
                f"{where}: the cosine counts from step 0, not from the end of the warm-up"
            )
        if step == 200:
            assert mine > 0, f"{where}: the cosine ends at a hundredth of the peak, not at 0"
        assert math.isclose(mine, wanted, rel_tol=1e-6), f"{where}, but it should be {wanted:.6f}"
    print("learning_rate: right")


# 4. Bands -------------------------------------------------------------------------------------------------------------


def stride_of_box(width, height):
    """The stride in whose band a box belongs, 8, 16 or 32; width and height in pixels of the network's input.

    The side of a square of the same area, ``sqrt(width * height)``, decides: up to 34 pixels stride 8, up to 92 stride
    16, above that stride 32.
    """
    raise NotImplementedError


def check_stride_of_box(function=stride_of_box):
    rng = np.random.default_rng(0)
    sizes = [(10.0, 13.0), (34.0, 34.0), (35.0, 34.0), (10.0, 100.0), (116.0, 90.0), (92.0, 92.0), (300.0, 40.0)]
    for width, height in sizes + rng.uniform(5, 200, (50, 2)).tolist():
        side, mine = math.sqrt(width * height), function(width, height)
        right = (8, 16, 32)[sum(side > limit for limit in band_limits())]
        where = f"a box of {width:.0f}x{height:.0f}, side {side:.1f}: stride {mine}"
        assert mine in (8, 16, 32), f"{where} is none of 8, 16, 32"
        assert side not in band_limits() or mine == right, f"{where}: a side just at a limit still belongs below it"
        assert mine == right, f"{where}, but it should be {right}"
    print("stride_of_box: right")


# 5. Augmentation's boxes ----------------------------------------------------------------------------------------------


def clip_and_drop(boxes_xyxy, width, height):
    """Cut boxes at the border of a picture of width x height pixels, and drop those of which too little is left.

    boxes_xyxy: (n, 4), left, top, right, bottom, all with an area; some reach over the border or lie beyond it.  A box
    stays if at least a quarter of its area is inside.  Return the cut boxes that stay, (m, 4), in their order.
    """
    raise NotImplementedError


def check_clip_and_drop(function=clip_and_drop):
    boxes = np.array([[10, 10, 20, 20], [-10, 0, 10, 10], [-8, 5, 2, 15], [90, 40, 110, 60], [-30, 0, -10, 10]], float)
    given = boxes.copy()
    mine = np.asarray(function(boxes, 100, 50))
    assert np.array_equal(boxes, given), "the array that you were given has changed: make a new one"
    assert mine.ndim == 2 and mine.shape[-1] == 4, f"the result should be (m, 4), not {mine.shape}"  # noqa: PT018
    assert not (mine[:, 0] < 0).any(), "a box begins left of the picture: cut it at 0"
    assert not (mine[:, 2] > 100).any(), "a box ends right of the picture: cut it at the width, 100"
    assert not (mine[:, 3] > 50).any(), "a box ends below the picture: cut it at the height, 50, not at the width"
    assert not (mine[:, 2] < mine[:, 0]).any(), "a box that lies beyond the border has its sides swapped: drop it"
    assert not any(np.array_equal(box, [0, 5, 2, 15]) for box in mine), "box 2 has only a fifth left: it should go"
    assert any(np.array_equal(box, [90, 40, 100, 50]) for box in mine), "box 3 has just a quarter left: it stays"
    right = np.array([[10, 10, 20, 20], [0, 0, 10, 10], [90, 40, 100, 50]], float)
    assert mine.shape == right.shape, f"three boxes should be left, not {len(mine)}"
    assert np.allclose(mine, right), f"the boxes that are left should be\n{right}\nnot\n{mine}"
    print("clip_and_drop: right")
