"""What the report before training says, on boxes placed by hand and against the targets of the loss."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from yolov3.anchors import PUBLISHED_ANCHORS
from yolov3.data.augment import NONE
from yolov3.data.batches import TrainingBatches
from yolov3.data.records import Record
from yolov3.data.shapes import ShapesDataset
from yolov3.preflight import training_report
from yolov3.targets import TargetSettings, best_anchors, scale_targets

ANCHORS = {8: ((10, 10),), 16: ((40, 40),)}


def record(boxes_xyxy, labels=None, size=(64, 64), marked=(), picture="a/p.png"):
    count = len(boxes_xyxy)
    flags = np.isin(np.arange(count), marked)
    boxes_xyxy = np.array(boxes_xyxy, np.float32).reshape(-1, 4)
    labels = np.array(labels if labels is not None else [0] * count, np.int64)
    return Record(Path(picture), "p", "p.xml", *size, boxes_xyxy, labels, flags, np.zeros(count, bool))


def data(*records, names=("cat",)):
    return SimpleNamespace(names=list(names), records=list(records))


GOOD = (10, 10, 20, 20)


def report(*boxes, size=(64, 64), image_size=(64, 64), **options):
    return training_report(data(record(boxes, size=size, **options)), ANCHORS, image_size)


def test_nothing_to_say():
    assert report(GOOD, (30, 30, 40, 40)) == []
    validation = data(record([GOOD], picture="v/p.png"))
    assert training_report(data(record([GOOD])), ANCHORS, (64, 64), validation) == []


def test_a_validation_part_with_pictures_of_the_training_part():
    (line,) = training_report(data(record([GOOD])), ANCHORS, (64, 64), data(record([GOOD])))
    assert line.startswith("1 of 1 picture of val in train, too (p.png): its mAP is too high")


def test_boxes_that_no_anchor_fits():
    # 60x3 with 10x10 share 10x3: 30 / (100 + 180 - 30); with 40x40 40x3: 120 / (1600 + 180 - 120) = 0.07
    (line,) = report(GOOD, (2, 30, 62, 33))
    assert line.startswith("1 of 2 boxes fit no anchor at 64x64 (IoU below 0.2; the worst, 0.12: 60x3 pixels in a")
    assert "p.png" in line
    assert "yolov3 anchors" in line


def test_objects_that_share_a_place():
    # Centres (15, 15), (15.5, 15.5) and (16.5, 15): the first two in one cell of stride 8, the third beside it.
    (line,) = report(GOOD, (10, 10, 21, 21), (12, 10, 21, 20))
    assert line.startswith("1 of 3 objects lose their place to another with the same cell and anchor at 64x64")
    assert "--imgsz" in line
    # In one cell, but with the anchors of two strides.
    assert report(GOOD, (0, 0, 30, 30)) == []
    # In two pictures.
    assert training_report(data(record([GOOD]), record([GOOD])), ANCHORS, (64, 64)) == []


def test_one_box_with_two_labels_is_one_object():
    two = data(record([GOOD, GOOD], labels=[0, 1]), names=("cat", "pet"))
    assert training_report(two, ANCHORS, (64, 64)) == []


def test_boxes_that_the_letterbox_makes_tiny():
    # 640x320 becomes 64x32: a box of 19 pixels is 1.9 pixels wide, one of 21 is 2.1, and one of 0.5 is 0.05: no target,
    # since 0.05 / 64 is below 0.001.
    lines = report((0, 0, 19, 19), (100, 0, 121, 21), (200, 0, 200.5, 90), size=(640, 320))
    (line,) = [line for line in lines if "pixels at" in line]
    assert line.startswith("2 of 3 boxes have a side below 2 pixels at 64x64 (the thinnest: 0.05x9 pixels in a")
    assert "; 1 of them so small that they are left out: try a larger --imgsz" in line


def test_difficult_boxes_are_no_targets():
    assert report(GOOD, GOOD, (2, 30, 62, 31), marked=[1, 2]) == []


def test_classes_without_a_box():
    names = ("cat", "dog", "a pet")
    train = data(record([GOOD], [0]), names=names)
    validation = data(record([GOOD, GOOD], [1, 2], picture="v/p.png"), names=names)
    first, second = training_report(train, ANCHORS, (64, 64), validation)[-2:]
    assert first == (
        "2 of 3 classes without a box in train (dog, a pet): can never be found: label some, or take the name out"
    )
    assert second == "1 of 3 classes without a box in val (cat): no mAP counts them: move some pictures there"
    many = data(record([GOOD]), names=[f"c{number}" for number in range(9)])
    assert "(c1, c2, c3, c4, c5, ...)" in training_report(many, ANCHORS, (64, 64))[0]


def test_data_without_boxes():
    for nothing in (data(record([])), data()):
        (line,) = training_report(nothing, ANCHORS, (64, 64))
        assert line.startswith("no box in train: ")


@pytest.mark.parametrize("side", [32, 64, 96])
def test_as_many_objects_are_lost_as_the_loss_has_too_few_positives(side):
    dataset = ShapesDataset("train", size=200)
    (batch,) = TrainingBatches(dataset, (side, side), len(dataset), NONE, seed=0).epoch(0)
    anchors = [np.array(PUBLISHED_ANCHORS[stride], np.float32) for stride in (8, 16, 32)]
    best, positives = best_anchors(batch.truths, np.concatenate(anchors), (side, side)), 0
    for number, (stride, group) in enumerate(zip((8, 16, 32), anchors, strict=True)):
        head = np.zeros((len(dataset), side // stride, side // stride, 3 * 8), np.float32)
        found = scale_targets(head, batch.truths, group, stride, 3 * number, best, TargetSettings())
        positives += int(found.positive.sum())
    objects = int((batch.truths[..., 2] > 0).sum())
    lines = [line for line in training_report(dataset, PUBLISHED_ANCHORS, (side, side)) if "lose" in line]
    said = int(lines[0].split()[0]) if lines else 0
    assert said == objects - positives
    assert (said > 0) == (side == 32)
