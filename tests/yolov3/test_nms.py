"""Non-maximum suppression: by hand, in loops, against the original, and against OpenCV."""

import json

import numpy as np
import pytest

from tests.yolov3.golden_yolo import golden_layer
from yolov3.boxes import cxcywh_to_xyxy
from yolov3.nms import non_maximum_suppression


def random_boxes(count, classes, seed):
    """Boxes that overlap a lot: boxes_xyxy, scores, labels."""
    rng = np.random.default_rng(seed)
    boxes_cxcywh = np.concatenate([rng.uniform(30, 50, (count, 2)), rng.uniform(20, 40, (count, 2))], axis=1)
    return cxcywh_to_xyxy(boxes_cxcywh), rng.uniform(0.1, 1, count), rng.integers(0, classes, count)


def loop_iou(a, b):
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0
    shared = width * height
    return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)


def loop_suppression(boxes_xyxy, scores, labels, threshold):
    """A box survives if no better survivor of its class overlaps it by more than the threshold."""
    kept = []
    for i in sorted(range(len(scores)), key=lambda i: -scores[i]):
        rivals = [j for j in kept if labels[j] == labels[i]]
        if all(loop_iou(boxes_xyxy[i], boxes_xyxy[j]) <= threshold for j in rivals):
            kept.append(i)
    return kept


# Three boxes 10 wide in a row, each moved by 5: neighbours share a third, the outer ones nothing.
ROW = np.array([[0, 0, 10, 10], [5, 0, 15, 10], [10, 0, 20, 10]], np.float64)


@pytest.mark.parametrize(
    ("scores", "labels", "threshold", "kept"),
    [
        ([0.9, 0.8, 0.7], [0, 0, 0], 0.3, [0, 2]),  # the middle one goes, and so cannot suppress the last
        ([0.8, 0.9, 0.7], [0, 0, 0], 0.3, [1]),
        ([0.7, 0.8, 0.9], [0, 0, 0], 0.3, [2, 0]),  # best score first
        ([0.8, 0.9, 0.7], [0, 0, 0], 0.34, [1, 0, 2]),
        ([0.8, 0.9, 0.7], [0, 1, 2], 0.3, [1, 0, 2]),  # other classes never suppress
        ([0.8, 0.9, 0.7], [5, 5, 2], 0.3, [1, 2]),
        ([0.5, 0.5, 0.5], [0, 0, 0], 0.3, [0, 2]),  # equal scores: the earlier first
    ],
)
def test_by_hand(scores, labels, threshold, kept):
    assert non_maximum_suppression(ROW, np.array(scores), np.array(labels), threshold).tolist() == kept


def test_an_overlap_of_exactly_the_threshold_does_not_suppress():
    boxes_xyxy = np.array([[0, 0, 4, 4], [0, 0, 4, 2]], np.float64)  # IoU exactly a half
    scores, labels = np.array([0.9, 0.8]), np.zeros(2, int)
    assert non_maximum_suppression(boxes_xyxy, scores, labels, 0.5).tolist() == [0, 1]
    assert non_maximum_suppression(boxes_xyxy, scores, labels, 0.4999).tolist() == [0]


def test_one_box_may_survive_as_several_classes():
    boxes_xyxy = ROW[[0, 0, 1, 1]]
    kept = non_maximum_suppression(boxes_xyxy, np.array([0.9, 0.6, 0.8, 0.7]), np.array([0, 1, 0, 1]), 0.3)
    assert kept.tolist() == [0, 3]


def test_no_boxes():
    kept = non_maximum_suppression(np.zeros((0, 4)), np.zeros(0), np.zeros(0, int))
    assert kept.shape == (0,)
    assert np.zeros((0, 4))[kept].shape == (0, 4)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("threshold", [0.1, 0.45, 0.7])
def test_equals_loops(seed, threshold):
    case = random_boxes(100, 3, seed)
    kept = non_maximum_suppression(*case, threshold)
    assert kept.tolist() == loop_suppression(*case, threshold)
    assert 3 <= len(kept) < 100


@pytest.mark.parametrize("threshold", [0.1, 0.45, 0.7])
def test_equals_opencv(threshold):
    cv2 = pytest.importorskip("cv2")
    boxes_xyxy, scores, _ = random_boxes(80, 1, seed=9)
    corner_and_size = np.concatenate([boxes_xyxy[:, :2], boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]], axis=1)
    wanted = cv2.dnn.NMSBoxes(corner_and_size.tolist(), scores.tolist(), 0.0, threshold)
    kept = non_maximum_suppression(boxes_xyxy, scores, np.zeros(80, int), threshold)
    assert kept.tolist() == list(wanted)


# ------------------------------------------------------------------------------------- the original


def suppressed_rows(boxes_xyxy, probabilities, threshold):
    """The original's form: a row per box with a probability per class, 0 where suppressed."""
    row, label = np.nonzero(probabilities)
    kept = non_maximum_suppression(boxes_xyxy[row], probabilities[row, label], label, threshold)
    left = np.zeros_like(probabilities)
    left[row[kept], label[kept]] = probabilities[row[kept], label[kept]]
    return left


def in_some_order(rows):
    return sorted(map(tuple, np.asarray(rows).tolist()))


def test_seven_boxes_of_the_original(golden):
    functions = json.loads((golden / "functions.json").read_text())
    rows = np.array(functions["nms_in_7x_xywh_p0_p1"]).reshape(7, 6)
    left = suppressed_rows(cxcywh_to_xyxy(rows[:, :4]), rows[:, 4:], 0.45)
    wanted = np.array(functions["nms_sort_.45_out"]).reshape(7, 6)  # in the order of the last class's scores
    assert np.count_nonzero(wanted[:, 4:]) < np.count_nonzero(rows[:, 4:])
    assert in_some_order(np.column_stack([rows[:, :4], left])) == in_some_order(wanted)


def test_detections_of_the_originals_layer(golden):
    functions = golden_layer(golden).functions
    rows = np.array(functions["yolo_dets_img100x50_thresh.3_xywh_obj_p3"]).reshape(-1, 8)
    left = suppressed_rows(cxcywh_to_xyxy(rows[:, :4]), rows[:, 5:], 0.45)
    wanted = np.array(functions["yolo_dets_after_nms.45"]).reshape(-1, 8)
    assert in_some_order(np.column_stack([rows[:, :5], left])) == in_some_order(wanted)
