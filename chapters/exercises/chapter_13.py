"""Exercises of chapter 13: detecting.

Replace ``raise NotImplementedError`` by your code, then run ``pytest chapters/exercises -k chapter_13``, or call a
check by itself: ``check_nms()`` checks the function in this file, ``check_nms(my_function)`` any other.
"""

import numpy as np

from yolov3.boxes import iou_xyxy
from yolov3.darknet.cfg import builtin_cfg, read_cfg
from yolov3.image import Letterbox
from yolov3.metrics import PictureDetections, PictureTruth
from yolov3.nms import non_maximum_suppression
from yolov3.voc_metrics import voc_average_precision

# 1. On paper ----------------------------------------------------------------------------------------------------------


def kept_boxes():
    """Three boxes A, B, C of one class have the scores 0.9, 0.8 and 0.7.  The IoU of A and B is 0.6, that of B and C is
    0.6, and that of A and C is 0.1.  Which does non-maximum suppression with the threshold 0.45 keep?

    Return a string with their letters, such as "AB".
    """
    raise NotImplementedError


def check_kept_boxes(function=kept_boxes):
    answer = "".join(sorted(function().upper()))
    assert set(answer) <= set("ABC"), f"{answer!r}: only the letters A, B and C, please"
    assert "A" in answer, "A is the surest of all: it is always kept"
    assert "B" not in answer, "B overlaps A, which is surer, by 0.6, and that is more than 0.45"
    assert "C" in answer, "only B could drop C, and B is gone: a box that was dropped suppresses nothing"
    print("kept_boxes: right")


# 2. NMS ---------------------------------------------------------------------------------------------------------------


def nms(boxes_xyxy, scores, threshold):
    """Non-maximum suppression for one class: the numbers of the boxes to keep, surest first, as a list or an array.

    boxes_xyxy: (n, 4); scores: (n,), all different.  Drop a box if its IoU with a surer box that is kept is *greater*
    than ``threshold``.  ``yolov3.boxes.iou_xyxy(box, boxes)`` gives a box's IoU with several.
    """
    raise NotImplementedError


def check_nms(function=nms):
    chain = np.array([[0, 0, 8, 2], [2, 0, 10, 2], [4, 0, 12, 2]], float)  # neighbours overlap by 0.6, ends by 1/3
    mine = [int(index) for index in function(chain, np.array([0.9, 0.8, 0.7]), 0.45)]
    assert mine != [0], "three boxes in a row: the last was dropped by the middle one, which is gone itself"
    assert mine == [0, 2], f"three boxes in a row, overlaps 0.6, 0.6 and 0.33: you kept {mine}, it should be [0, 2]"
    pair = np.array([[0, 0, 4, 2], [0, 0, 2, 2]], float)  # IoU exactly 0.5
    assert len(function(pair, np.array([0.9, 0.8]), 0.5)) == 2, "an IoU equal to the threshold drops nothing"
    mine = [int(index) for index in function(np.array([[0, 0, 1, 1], [5, 5, 6, 6]]), np.array([0.1, 0.9]), 0.45)]
    assert mine == [1, 0], f"two boxes far apart, scores 0.1 and 0.9: the surest comes first, [1, 0], not {mine}"
    for seed in range(5):
        boxes, scores = random_boxes(seed)
        right = non_maximum_suppression(boxes, scores, np.zeros(len(boxes), int), 0.45).tolist()
        mine = [int(index) for index in function(boxes.copy(), scores.copy(), 0.45)]
        assert mine == right, f"40 random boxes (seed {seed}): you kept {mine}, it should be {right}"
    print("nms: right")


def random_boxes(seed, count=40):
    rng = np.random.default_rng(seed)
    corner = rng.uniform(0, 60, (count, 2))
    return np.concatenate([corner, corner + rng.uniform(10, 40, (count, 2))], axis=1), rng.permutation(count) / count


# 3. Soft-NMS ----------------------------------------------------------------------------------------------------------


def soft_nms(boxes_xyxy, scores, threshold):
    """Soft-NMS for one class: the new scores, (n,), in the order in which the boxes were given.

    Again and again: of the boxes that were not taken yet, take the one with the highest score *now*; multiply the score
    of every other box that was not taken yet and overlaps it by more than ``threshold`` by ``1 - IoU``.  Leave the
    array that you were given as it is.
    """
    raise NotImplementedError


def check_soft_nms(function=soft_nms):
    chain = np.array([[0, 0, 8, 2], [2, 0, 10, 2], [4, 0, 12, 2]], float)
    given = np.array([0.9, 0.8, 0.7])
    mine = np.asarray(function(chain, given, 0.45))
    assert np.array_equal(given, [0.9, 0.8, 0.7]), "the scores that you were given have changed: make a copy"
    assert mine.shape == (3,), f"return a score for each box, (3,), not {mine.shape}"
    assert np.isclose(mine[0], 0.9), "nothing is surer than the first box: its score stays"
    assert not np.isclose(mine[1], 0), "soft-NMS fades a score, it does not set it to 0"
    assert not np.isclose(mine[2], 0.28), (
        "the third box is taken before the second, whose score has faded below: look for the surest anew each time"
    )
    assert not np.isclose(mine[1], 0.32), "the second box fades twice: by the first, and then by the third"
    assert np.isclose(mine[1], 0.128), f"the second box: 0.8 x (1 - 0.6) x (1 - 0.6) = 0.128, not {mine[1]:.3f}"
    assert np.isclose(mine[2], 0.7), f"the third box overlaps the first by 1/3 only: 0.7, not {mine[2]:.3f}"
    for seed in range(5):
        boxes, scores = random_boxes(seed)
        right, mine = _faded(boxes, scores, 0.3), np.asarray(function(boxes.copy(), scores.copy(), 0.3))
        wrong = np.flatnonzero(~np.isclose(mine, right))
        assert not len(wrong), f"40 random boxes (seed {seed}): the score of box {wrong[0]} is off"
    print("soft_nms: right")


def _faded(boxes, scores, threshold):
    """The same by matrices: each round multiplies all scores by a row of factors."""
    overlap = iou_xyxy(boxes[:, None], boxes[None])
    factors, faded, open_ = np.where(overlap > threshold, 1 - overlap, 1), scores.copy(), np.ones(len(scores), bool)
    for _ in range(len(scores)):
        best = np.where(open_, faded, -1).argmax()
        open_[best] = False
        faded = np.where(open_, faded * factors[best], faded)
    return faded


# 4. Average precision -------------------------------------------------------------------------------------------------


def average_precision(is_right, things):
    """The area under the envelope of precision over recall, as Pascal VOC measures it since 2010.

    is_right: (n,) bool, the detections of one class from the surest down; things: how many there are to find.
    """
    raise NotImplementedError


def check_average_precision(function=average_precision):
    cases = {(1, 1): 2, (1, 0, 1, 1, 0): 4, (0, 1): 1, (0, 0): 3, (0, 1, 0, 1, 1, 1): 4}
    rng = np.random.default_rng(0)
    cases |= {tuple(rng.integers(0, 2, 12).tolist()): 15 for _ in range(5)}
    for verdicts, things in cases.items():
        is_right = np.array(verdicts, bool)
        right, mine = _library_ap(is_right, things), float(function(is_right, things))
        where = f"right and wrong {verdicts}, {things} things: {mine:.4f}"
        precision = is_right.cumsum() / np.arange(1, len(is_right) + 1)
        raw = precision[is_right].sum() / things
        assert np.isclose(raw, right) or not np.isclose(mine, raw), f"{where}: this is the area without the envelope"
        found = max(1, is_right.sum())
        assert found == things or not np.isclose(mine * found, right * things) or right == 0, (
            f"{where}: divide by all things, not by those that were found"
        )
        assert np.isclose(mine, right), f"{where}, but it should be {right:.4f}"
    print("average_precision: right")


def _library_ap(is_right, things):
    """Things side by side; a right detection lies on the next of them, a wrong one far below."""
    truths = np.array([[20 * index, 0, 20 * index + 10, 10] for index in range(things)])
    far = np.array([[20 * index, 900, 20 * index + 10, 910] for index in range(len(is_right))])
    place = np.minimum(is_right.cumsum() - 1, things - 1)
    boxes = np.where(is_right[:, None], truths[place], far)
    found = PictureDetections(boxes, np.linspace(0.9, 0.1, len(is_right)), np.zeros(len(is_right), int))
    return voc_average_precision([found], [PictureTruth(truths, np.zeros(things, int))], 1).mean_ap


# 5. The letterbox undone ----------------------------------------------------------------------------------------------


def to_picture(box_cxcywh, picture_width, picture_height, net_size):
    """Bring one box from the letterbox back to the photograph: (left, top, right, bottom) in the photograph's pixels.

    box_cxcywh: centre x, centre y, width, height as fractions of a square canvas of net_size x net_size pixels.  The
    photograph was scaled by ``s = net_size / max(picture_width, picture_height)`` and lies in the middle of the canvas.
    """
    raise NotImplementedError


def check_to_picture(function=to_picture):
    for width, height, net in ((640, 480, 416), (480, 640, 416), (300, 300, 96), (200, 100, 320)):
        frame = Letterbox.fit(width, height, net, net)
        right = np.array([0.1 * width, 0.2 * height, 0.5 * width, 0.7 * height])
        mine = np.array(function(frame.to_network(right[None])[0], width, height, net), float)
        where = f"a photograph of {width}x{height} (width x height) in a canvas of {net}"
        assert mine.shape == (4,), f"{where}: return four numbers, not shape {mine.shape}"
        assert (mine[2:] > mine[:2]).all(), f"{where}: right must be above left and bottom above top, not {mine}"
        sizes = mine[2:] - mine[:2]
        assert np.allclose(sizes, right[2:] - right[:2], rtol=1e-3), (
            f"{where}: width and height of the box are {sizes}, they should be {right[2:] - right[:2]}: undo the scale"
        )
        assert np.allclose(mine, right, atol=0.1), f"{where}: the box has the right size, but is moved: mind the border"
    print("to_picture: right")


# 6. Bytes -------------------------------------------------------------------------------------------------------------


def weights_file_bytes(convolutions):
    """The size in bytes of a ``.weights`` file with a header of 20 bytes.

    convolutions: a list of ``(in_channels, filters, window, has_batch_norm)``.  Each filter has
    ``in_channels * window * window`` weights and a bias; with batch norm it also has a scale, a mean and a variance.
    Every number takes 4 bytes.
    """
    raise NotImplementedError


def check_weights_file_bytes(function=weights_file_bytes):
    assert function([]) == 20, f"an empty network has the header alone, 20 bytes, not {function([])}"
    one = function([(3, 2, 3, True)])
    assert one != 20 + 4 * (54 + 2), "with batch norm a filter has four numbers beside its weights, not one"
    assert one != 20 + 62, "every number takes 4 bytes"
    assert one == 20 + 4 * 62, f"one convolution 3 -> 2, 3x3, batch norm: {one}, it should be {20 + 4 * 62}"
    assert function([(2, 4, 1, False)]) == 20 + 4 * 12, "without batch norm a filter has its weights and a bias"
    for name in ("yolov3-tiny", "yolov3"):
        plan = read_cfg(builtin_cfg(name))
        layers = [layer for layer in plan.layers if layer.section == "convolutional"]
        kinds = [(each.input_shape[2], each.kind.filters, each.kind.size, each.kind.batch_normalize) for each in layers]
        mine, right = function(kinds), 20 + 4 * plan.floats
        assert mine == right, f"{name}: {mine:,}, it should be {right:,}"
    print("weights_file_bytes: right")
