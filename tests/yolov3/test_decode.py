"""Decoding: by hand, in loops, and against the original's detection layer."""

import json
import math

import numpy as np
import pytest

from tests.yolov3.golden_yolo import ANCHORS, NET_SIZE, golden_layer
from yolov3.boxes import xyxy_to_cxcywh
from yolov3.decode import LARGEST_EXPONENT, decode, decode_boxes, split_head
from yolov3.image import Letterbox


def logits(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


def loop_boxes(head, anchors, stride):
    """The formulas of the module, one box at a time: yields boxes_cxcywh in the order picture, row, column, anchor."""
    batch, rows, columns, channels = head.shape
    per_anchor = channels // len(anchors)
    for picture in range(batch):
        for row in range(rows):
            for column in range(columns):
                for index, (width, height) in enumerate(anchors.tolist()):
                    t = head[picture, row, column, index * per_anchor : (index + 1) * per_anchor]
                    yield (
                        (column + sigmoid(t[0])) / columns,
                        (row + sigmoid(t[1])) / rows,
                        width * math.exp(t[2]) / (columns * stride),
                        height * math.exp(t[3]) / (rows * stride),
                    )


def test_one_box_by_hand():
    # Row 1, column 2 of a 3x4 grid with stride 32: a 96 high and 128 wide input.
    head = np.zeros((1, 3, 4, 6))
    head[0, 1, 2] = [math.log(3), -math.log(3), math.log(2), math.log(0.5), 0, 0]  # sigmoids 3/4 and 1/4
    found = decode_boxes(head, np.array([[16, 48]]), 32)
    assert found.shape == (1, 3, 4, 1, 4)
    np.testing.assert_allclose(found[0, 1, 2, 0], [2.75 / 4, 1.25 / 3, 32 / 128, 24 / 96], rtol=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_boxes_equal_loops(dtype):
    anchors = np.array([[10, 13], [16, 30], [33, 23]], np.float32)
    head = logits(2, 3, 5, 3 * 7).astype(dtype)
    found = decode_boxes(head, anchors, 16)
    assert found.dtype == dtype
    wanted = np.array(list(loop_boxes(head, anchors, 16)))
    np.testing.assert_allclose(found.reshape(-1, 4), wanted, rtol=1e-5 if dtype == np.float32 else 1e-12)


def test_splitting_a_head_keeps_each_anchors_channels_together():
    head = np.arange(2 * 3 * 4 * 14).reshape(2, 3, 4, 14)
    np.testing.assert_array_equal(split_head(head, 2)[1, 2, 3, 1], head[1, 2, 3, 7:])


def test_all_boxes_come_scale_by_scale_row_by_row_anchor_by_anchor():
    heads = [logits(2, 1, 2, 3 * 7), logits(2, 2, 4, 1 * 7, seed=1)]
    anchors = [np.array([[30, 40], [50, 20], [60, 60]]), np.array([[8, 9]])]
    predictions = decode(heads, anchors, (32, 16))
    assert predictions.boxes_cxcywh.shape == (2, 6 + 8, 4)
    assert predictions.class_probabilities.shape == (2, 14, 2)
    for picture in range(2):
        rows = [each for head in heads for each in head[picture].reshape(-1, 7)]
        objectness = [sigmoid(row[4]) for row in rows]
        classes = [[sigmoid(value) for value in row[5:]] for row in rows]
        wanted = [
            box for head, group, stride in zip(heads, anchors, (32, 16), strict=True)
            for box in loop_boxes(head[picture : picture + 1], group, stride)
        ]  # fmt: skip
        np.testing.assert_allclose(predictions.boxes_cxcywh[picture], wanted, rtol=1e-12)
        np.testing.assert_allclose(predictions.objectness[picture], objectness, rtol=1e-12)
        np.testing.assert_allclose(predictions.class_probabilities[picture], classes, rtol=1e-12)


def test_huge_logits_stay_finite():
    head = np.array([1000, -1000, 1000, -1000, 1000, -1000], np.float32).reshape(1, 1, 1, 6)
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        predictions = decode([head], [np.array([[16, 16]])], (32,))
    assert predictions.boxes_cxcywh[0, 0].tolist() == pytest.approx([1, 0, 0.5 * math.exp(LARGEST_EXPONENT), 0])
    assert predictions.objectness.item() == 1
    assert predictions.class_probabilities.item() == 0


# ------------------------------------------------------------------------------------- the original


@pytest.fixture(scope="module")
def layer(golden):
    return golden_layer(golden)


def test_outputs_of_the_originals_layer(layer):
    # The original's layer applies the logistic function in place, and leaves width and height alone.
    boxes_cxcywh = decode_boxes(layer.head, ANCHORS[0], 32)
    predictions = decode([layer.head], ANCHORS[:1], (32,))
    wanted = split_head(layer.array("yolo_out"), 2)  # (1, 2, 2, 2, 8)
    cell = np.array([[[0, 0], [1, 0]], [[0, 1], [1, 1]]])[None, :, :, None]  # (1, rows, columns, 1, (x, y))
    np.testing.assert_allclose(boxes_cxcywh[..., :2] * 2 - cell, wanted[..., :2], atol=1e-6)
    sizes = np.log(boxes_cxcywh[..., 2:] * NET_SIZE / ANCHORS[0])
    np.testing.assert_allclose(sizes, wanted[..., 2:4], atol=1e-6)
    np.testing.assert_allclose(predictions.objectness[0], wanted[..., 4].reshape(-1), atol=1e-6)
    np.testing.assert_allclose(predictions.class_probabilities[0], wanted[..., 5:].reshape(-1, 3), atol=1e-6)


def test_detections_of_the_originals_layer(layer):
    predictions = decode([layer.head], ANCHORS[:1], (32,))
    sure = predictions.objectness[0] > 0.3
    objectness = predictions.objectness[0][sure]
    boxes_xyxy = Letterbox.fit(100, 50, NET_SIZE, NET_SIZE).to_picture(predictions.boxes_cxcywh[0][sure])
    scores = objectness[:, None] * predictions.class_probabilities[0][sure]
    found = np.column_stack([xyxy_to_cxcywh(boxes_xyxy), objectness, np.where(scores > 0.3, scores, 0)])
    wanted = np.array(layer.functions["yolo_dets_img100x50_thresh.3_xywh_obj_p3"]).reshape(-1, 8)
    assert len(wanted) == 6
    np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-5)


def test_region_layer_of_yolov2_is_the_originals(golden):
    functions = json.loads((golden / "functions.json").read_text())
    logits, wanted = (np.array(functions[key]).reshape(2, 8, 2, 2) for key in ("region_in", "region_out"))
    head = logits.reshape(16, 2, 2).transpose(1, 2, 0)[None]  # two anchors with (5 + 3) channels each
    stride, cells = 32, np.array([[0.57, 0.68], [1.3, 0.9]])
    found = decode([head], [cells * stride], [stride], one_class_per_box=True)
    x, y, width, height, objectness, *classes = wanted.transpose(1, 2, 3, 0)  # each (rows, columns, anchors)
    columns, rows = np.meshgrid(np.arange(2), np.arange(2))
    boxes = np.stack(
        [
            (columns[..., None] + x) / 2,
            (rows[..., None] + y) / 2,
            np.exp(width) * cells[:, 0] / 2,
            np.exp(height) * cells[:, 1] / 2,
        ],
        axis=-1,
    )
    np.testing.assert_allclose(found.boxes_cxcywh[0], boxes.reshape(-1, 4), rtol=1e-5)
    np.testing.assert_allclose(found.objectness[0], objectness.ravel(), rtol=1e-5)
    np.testing.assert_allclose(found.class_probabilities[0], np.stack(classes, -1).reshape(-1, 3), rtol=1e-5)
    np.testing.assert_allclose(found.class_probabilities.sum(-1), 1, rtol=1e-6)
