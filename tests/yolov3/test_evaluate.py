"""Evaluation: from a network and a data set to the numbers and the table, with networks whose finds are known."""

import math
import threading
from types import SimpleNamespace

import numpy as np
import pytest

from tests.yolov3.stub_networks import FixedBoxes, RedFinder, picture_with_red
from yolov3.errors import UserError
from yolov3.evaluate import class_table, evaluate, headline, results_dict, score, size_table
from yolov3.metrics import PictureDetections
from yolov3.nms import non_maximum_suppression as nms

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
        "red": {"objects": 5, "ap50": 0.0, "ap": 0.0, "ap_small": 0.0, "ap_medium": None, "ap_large": None},
        "unused": {"objects": 0, "ap50": None, "ap": None, "ap_small": None, "ap_medium": None, "ap_large": None},
    }
    assert results["milliseconds_per_picture"] == {}  # nobody ran a network
    assert results["coco"]["ap"] == 0
    assert all(value is None or math.isfinite(value) for value in results["coco"].values())


def test_the_table_by_size():
    # Areas of 1 make all objects small; what is found is medium and large, but matches small objects all the same.
    evaluation = evaluate(RedFinder(), RedPictures(), (256, 256))
    header, red, unused, overall = size_table(evaluation, RedPictures.names).splitlines()
    assert header.split() == ["AP", "by", "size", "small", "medium", "large"]
    ap = f"{evaluation.coco.ap:.3f}"
    assert red.split() == ["red", ap, "-", "-"]
    assert unused.split() == ["unused", "-", "-", "-"]
    assert overall.split() == ["all", ap, "-", "-"]
    assert len({len(line) for line in (header, red, unused, overall)}) == 1


def test_each_stage_is_timed_per_picture(monkeypatch):
    """A clock that only moves where a stage is told to take its time: 5 pictures in batches of 2, 2 and 1."""
    clock = [0.0]
    monkeypatch.setattr("yolov3.evaluate.time", SimpleNamespace(perf_counter=lambda: clock[0]))
    monkeypatch.setattr("yolov3.stage_times.time", SimpleNamespace(perf_counter=lambda: clock[0]))
    monkeypatch.setattr("yolov3.data.batches.time", SimpleNamespace(perf_counter=lambda: clock[0]))
    # In the caller's thread, so that one clock serves both.
    monkeypatch.setattr("yolov3.data.batches.prefetch", lambda make, items: map(make, items))

    def taking(seconds, function):
        def slowly(*arguments):
            clock[0] += seconds
            return function(*arguments)

        return slowly

    class SlowFinder(RedFinder):
        def __call__(self, images):
            clock[0] += 0.010 * len(images.data)
            return super().__call__(images)

    dataset = RedPictures()
    dataset.load_image = taking(0.002, dataset.load_image)
    monkeypatch.setattr("yolov3.postprocess.non_maximum_suppression", taking(0.003, nms))
    evaluation = evaluate(SlowFinder(), dataset, (256, 256), batch=2)
    expected = {"preparing": 2.0, "network": 10.0, "decoding and NMS": 3.0}
    assert evaluation.milliseconds == pytest.approx(expected)
    assert results_dict(evaluation, dataset.names)["milliseconds_per_picture"] == pytest.approx(expected)


def test_pictures_are_prepared_in_a_thread_that_ends_with_the_evaluation():
    dataset, threads = RedPictures(), set()
    load_image = dataset.load_image

    def load(index):
        threads.add(threading.current_thread())
        if index == 4:
            raise UserError("picture 4 is broken")
        return load_image(index)

    dataset.load_image = load
    with pytest.raises(UserError, match="picture 4"):
        evaluate(RedFinder(), dataset, (64, 64), batch=1)
    (thread,) = threads
    assert thread is not threading.current_thread()
    assert not thread.is_alive()
