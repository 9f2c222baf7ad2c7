"""Evaluation: from a network and a data set to the numbers and the table, with networks whose finds are known."""

import math
from types import SimpleNamespace

import numpy as np
import pytest

from tests.yolov3.stub_networks import FixedBoxes, RedFinder, picture_with_red
from yolov3.errors import UserError
from yolov3.evaluate import class_table, evaluate, headline, results_dict, score
from yolov3.metrics import PictureDetections

SIZES = [(96, 64), (333, 641), (640, 480), (97, 31), (64, 64)]  # width, height


class RedPictures:
    """One red rectangle per picture; ``moved`` pictures say that it is somewhere else."""

    names = ("red", "unused")

    def __init__(self, moved=(), difficult=(), sizes=SIZES):
        self.images, self.records = [], []
        for index, (width, height) in enumerate(sizes):
            box = np.array([width * 0.2, height * 0.1, width * 0.7, height * 0.6]).astype(int)
            self.images.append(picture_with_red(width, height, box))
            stated = np.array([0, 0, 2, 2]) if index in moved else box
            self.records.append(
                SimpleNamespace(
                    boxes_xyxy=stated[None].astype(np.float32),
                    labels=np.zeros(1, int),
                    difficult=np.array([index in difficult]),
                    crowd=np.zeros(1, bool),
                    areas=np.ones(1),
                )
            )

    def __len__(self):
        return len(self.records)

    def load_image(self, index):
        return self.images[index]


@pytest.mark.parametrize("image_size", [(256, 256), (256, 384), (416, 192)])
@pytest.mark.parametrize("batch", [1, 2, 8])
def test_pictures_of_all_shapes_are_matched_with_their_truth(image_size, batch):
    done, network = [], RedFinder()
    evaluation = evaluate(network, RedPictures(), image_size, batch, progress=done.append)
    assert evaluation.voc.mean_ap == 1
    assert network.seen == {image_size}
    assert sum(done) == len(SIZES)
    assert max(done) <= batch
    for found, (width, height) in zip(evaluation.detections, SIZES, strict=True):
        box = np.array([width * 0.2, height * 0.1, width * 0.7, height * 0.6]).astype(int)
        # An edge is known to a pixel of the network's input, and to half a pixel more by an odd border.
        pixel = max(width / image_size[1], height / image_size[0])
        np.testing.assert_allclose(found.boxes_xyxy, box[None], atol=1.5 * pixel + 0.5)


def test_wrong_finds_count():
    # Four of five truths are found, and these before the wrong one: precision 1 up to a recall of 0.8.
    evaluation = evaluate(RedFinder(), RedPictures(moved=[4]), (256, 256))
    assert evaluation.voc.mean_ap == pytest.approx(0.8)
    assert evaluation.voc.truth_counts.tolist() == [5, 0]


def test_difficult_boxes_are_neither_asked_for_nor_wrong():
    evaluation = evaluate(RedFinder(), RedPictures(difficult=[0, 1]), (256, 256))
    assert evaluation.voc.mean_ap == 1
    assert evaluation.voc.truth_counts.tolist() == [3, 0]


def test_thresholds_reach_the_detector():
    boxes = [(40, 40, 20, 20, 0, 0.6), (72, 40, 60, 60, 0, 0.3), (100, 40, 60, 60, 0, 0.2)]
    network, data = FixedBoxes(boxes, 2), RedPictures(sizes=[(128, 128)])

    def scores(**options):
        (found,) = evaluate(network, data, (128, 128), **options).detections
        return np.round(found.scores, 3).tolist()

    assert scores() == [0.6, 0.3, 0.2]
    assert scores(confidence=0.25) == [0.6, 0.3]
    # IoU of the two large ones: (60 - 28) * 60 / (2 * 60 * 60 - 32 * 60) = 0.36
    assert scores(iou_threshold=0.35) == [0.6, 0.3]
    assert scores(iou_threshold=0.37) == [0.6, 0.3, 0.2]


def test_a_diverged_network_is_refused():
    class Broken(FixedBoxes):
        def _head(self, image):
            head = super()._head(image)
            head[0, 0, 2] = np.nan
            return head

    with pytest.raises(UserError, match="not finite"):
        evaluate(Broken([], 2), RedPictures(), (64, 64))


def nothing_found(count):
    return [PictureDetections([], [], [])] * count


def test_the_table():
    evaluation = evaluate(RedFinder(), RedPictures(), (256, 256))
    header, red, unused, overall = class_table(evaluation, RedPictures.names).splitlines()
    assert header.split() == ["class", "objects", "AP@0.5", "AP@[.5:.95]"]
    assert red.split()[:3] == ["red", "5", "1.000"]
    assert unused.split() == ["unused", "0", "-", "-"]
    assert overall.split()[:3] == ["all", "5", "1.000"]
    assert len({len(line) for line in (header, red, unused, overall)}) == 1
    ap = evaluation.coco.ap
    assert 0 < ap <= 1
    assert headline(evaluation) == f"mAP@0.5 1.000  AP@[.5:.95] {ap:.3f}"


def test_results_as_json_values():
    evaluation = score(nothing_found(5), RedPictures(moved=[0]))
    results = results_dict(evaluation, RedPictures.names)
    assert results["mAP50"] == 0
    assert results["classes"] == {
        "red": {"objects": 5, "ap50": 0.0, "ap": 0.0},
        "unused": {"objects": 0, "ap50": None, "ap": None},
    }
    assert results["coco"]["ap"] == 0
    assert all(value is None or math.isfinite(value) for value in results["coco"].values())
