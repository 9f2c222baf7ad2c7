"""COCO's AP: cases worked by hand, and equality with pycocotools on random pictures."""

import contextlib
import io

import numpy as np
import pytest

from yolov3.coco_metrics import coco_average_precision
from yolov3.metrics import PictureDetections, PictureTruth

NUMBERS = ["ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large"]
NUMBERS += ["ar1", "ar10", "ar100", "ar_small", "ar_medium", "ar_large"]
BIG = (0, 0, 100, 100)  # large: 100 x 100 > 96 x 96


def detections(*rows):
    """From ``(score, box)`` pairs of one class."""
    return PictureDetections([box for _, box in rows], [score for score, _ in rows], [0] * len(rows))


def truth(*boxes, **flags):
    return PictureTruth(boxes, [0] * len(boxes), **flags)


def score(found, truths):
    return coco_average_precision([found], [truths], 1)


# ------------------------------------------------------------------------------------------------ by hand


def test_ap_averages_over_overlaps():
    # IoU 100 x 77 / 100 x 100 = 0.77: right at .50 ... .75, wrong at .80 ... .95.
    result = score(detections((0.9, (0, 0, 100, 77))), truth(BIG))
    assert result.ap == pytest.approx(0.6)
    assert (result.ap50, result.ap75) == (1.0, 1.0)
    assert result.ar1 == pytest.approx(0.6)
    np.testing.assert_allclose(result.class_ap, [0.6])


def test_recall_points_by_hand():
    # Right, wrong, right of two objects: precision 1 up to recall .50 (51 points), then 2/3 (50 points).
    found = detections((0.9, BIG), (0.8, (900, 0, 1000, 100)), (0.7, (300, 0, 400, 100)))
    result = score(found, truth(BIG, (300, 0, 400, 100)))
    assert result.ap == pytest.approx((51 + 50 * 2 / 3) / 101)


def test_sizes_of_objects():
    small, middle = (0, 0, 32, 32), (200, 0, 296, 96)  # 32² and 96²: each border belongs to both its sides
    result = score(detections((0.9, small)), truth(small, middle, BIG))
    assert (result.ap_small, result.ap_medium, result.ap_large) == (1.0, pytest.approx(51 / 101), 0.0)
    assert (result.ar_small, result.ar_medium, result.ar_large) == (1.0, 0.5, 0.0)


def test_given_areas_decide_the_size():
    result = score(detections((0.9, BIG)), truth(BIG, areas=[50]))
    assert result.ap_small == 1.0
    assert np.isnan(result.ap_large)


def test_limits_of_detections_per_picture():
    boxes = [(200 * i, 0, 200 * i + 100, 100) for i in range(101)]
    result = score(detections(*((1 - i / 200, box) for i, box in enumerate(boxes))), truth(*boxes))
    assert result.ar1 == pytest.approx(1 / 101)
    assert result.ar10 == pytest.approx(10 / 101)
    assert result.ar100 == pytest.approx(100 / 101)


def test_a_detection_takes_the_best_object_still_free():
    # Unlike VOC's: the second detection fits the taken object best, but takes the other one.
    result = score(detections((0.9, BIG), (0.8, BIG)), truth(BIG, (0, 0, 100, 60)))
    assert result.ap50 == 1.0


def test_a_crowd_swallows_detections_by_the_share_inside_it():
    found = detections((0.9, (10, 10, 20, 20)), (0.8, (30, 30, 40, 40)), (0.7, (300, 0, 400, 100)))
    result = score(found, truth(BIG, (300, 0, 400, 100), crowd=[True, False]))
    assert result.ap == 1.0


def test_difficult_objects_are_neither_asked_for_nor_counted():
    ordinary, found_difficult, missed_difficult = BIG, (300, 0, 400, 100), (600, 0, 700, 100)
    truths = truth(ordinary, found_difficult, missed_difficult, difficult=[False, True, True])
    assert score(detections((0.9, found_difficult), (0.8, ordinary)), truths).ap == 1.0
    # A second detection of a difficult object finds it taken, and is wrong.
    assert score(detections((0.9, found_difficult), (0.9, found_difficult), (0.8, ordinary)), truths).ap == 0.5


def test_ap_of_each_class_by_size():
    # Class 0: the small object is found, the large one is not.  Class 1 has one of medium size, half of it found.
    small, medium, large = (0, 0, 30, 30), (200, 200, 250, 250), (400, 400, 500, 500)
    found = PictureDetections([small, (200, 200, 250, 225)], [0.9, 0.8], [0, 1])
    result = coco_average_precision([found], [PictureTruth([small, medium, large], [0, 1, 0])], 2)
    np.testing.assert_allclose(result.class_ap_by_size, [[1, np.nan, 0], [np.nan, 0.1, np.nan]])


def test_nothing_to_find_is_nan():
    result = coco_average_precision([detections((0.9, BIG))], [truth()], 2)
    assert all(np.isnan(getattr(result, name)) for name in NUMBERS)
    assert np.isnan(result.class_ap).all()
    assert np.isnan(coco_average_precision([], [], 1).ap)


def test_wrong_input():
    with pytest.raises(ValueError, match="truths of 0"):
        coco_average_precision([detections()], [], 1)
    with pytest.raises(ValueError, match="truths of picture 0"):
        coco_average_precision([detections()], [PictureTruth([BIG], [1])], 1)


# --------------------------------------------------------------------------------------------- pycocotools


def pycocotools_scores(found, truths, class_count):
    """The twelve numbers, AP per class, and that by size ``(classes, 3)``, with NaN for pycocotools' -1."""
    coco_module = pytest.importorskip("pycocotools.coco")
    evaluation_module = pytest.importorskip("pycocotools.cocoeval")

    def corner_and_size(box):
        return [box[0], box[1], box[2] - box[0], box[3] - box[1]]

    annotations = [
        {
            "id": None,  # set below
            "image_id": picture,
            "category_id": int(t.labels[i]),
            "bbox": corner_and_size(t.boxes_xyxy[i].tolist()),
            "area": float(t.areas[i]),
            "iscrowd": int(t.crowd[i]),
        }
        for picture, t in enumerate(truths)
        for i in range(len(t.labels))
    ]
    for number, annotation in enumerate(annotations, start=1):  # from 1: pycocotools takes an id of 0 for "no match"
        annotation["id"] = number
    results = [
        {
            "image_id": picture,
            "category_id": int(f.labels[i]),
            "bbox": corner_and_size(f.boxes_xyxy[i].tolist()),
            "score": float(f.scores[i]),
        }
        for picture, f in enumerate(found)
        for i in range(len(f.labels))
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        reference = coco_module.COCO()
        reference.dataset = {
            "info": {},
            "images": [{"id": picture} for picture in range(len(truths))],
            "annotations": annotations,
            "categories": [{"id": label} for label in range(class_count)],
        }
        reference.createIndex()
        evaluation = evaluation_module.COCOeval(reference, reference.loadRes(results), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    precision = evaluation.eval["precision"][:, :, :, 0, 2]  # (thresholds, recalls, classes): all areas, 100 detections
    by_size = evaluation.eval["precision"][:, :, :, 1:, 2]  # (thresholds, recalls, classes, small to large)
    numbers = (evaluation.stats, precision.mean(axis=(0, 1)), by_size.mean(axis=(0, 1)))
    return [np.where(values == -1, np.nan, values) for values in numbers]


def assert_equal_to_pycocotools(found, truths, class_count):
    stats, class_ap, class_ap_by_size = pycocotools_scores(found, truths, class_count)
    result = coco_average_precision(found, truths, class_count)
    np.testing.assert_allclose([getattr(result, name) for name in NUMBERS], stats, atol=1e-9)
    np.testing.assert_allclose(result.class_ap, class_ap, atol=1e-9)
    np.testing.assert_allclose(result.class_ap_by_size, class_ap_by_size, atol=1e-9)


@pytest.mark.parametrize("second", [(0, 0, 100, 80), (0, 20, 100, 100)])
def test_of_two_equal_overlaps_the_last_is_taken_as_pycocotools_does(second):
    # The first detection overlaps both objects by 0.8; whichever it leaves free decides what the second finds.
    found = detections((0.9, BIG), (0.8, second))
    assert_equal_to_pycocotools([found], [truth((0, 0, 100, 80), (0, 20, 100, 100))], 1)


def random_pictures(seed, pictures, classes, most_truths, most_detections, score_levels, step, crowd=0.1):
    """Detections scattered about the truths, on a grid of ``step`` pixels.

    Some pictures have no truths, some no detections.  Class ``classes - 1`` is never a truth, class
    ``classes - 2`` never a detection.
    """
    generator = np.random.default_rng(seed)
    found, truths = [], []
    for _ in range(pictures):
        m = generator.integers(0, most_truths + 1) * (generator.random() < 0.85)
        n = generator.integers(0, most_detections + 1) * (generator.random() < 0.85)
        places = max(m, 1)  # where there are no truths the detections scatter about an empty place
        corners = step * generator.integers(0, 200 // step, (places, 2))
        sides = step * np.ceil(np.exp(generator.uniform(1.5, 5.2, (places, 2))) / step)  # 4 to 181 pixels
        boxes = np.concatenate([corners, corners + sides], axis=1)
        labels = generator.integers(0, classes - 1, places)
        areas = sides[:m].prod(axis=1) * generator.uniform(0.4, 1, m) if generator.random() < 0.5 else None
        truths.append(PictureTruth(boxes[:m], labels[:m], crowd=generator.random(m) < crowd, areas=areas))

        copied = generator.integers(0, places, n)
        noise = step * np.round(generator.normal(0, 0.08, (n, 4)) * np.tile(sides[copied], 2) / step)
        guessed = boxes[copied] + noise
        guessed[:, 2:] = np.maximum(guessed[:, 2:], guessed[:, :2] + step)
        guessed_labels = np.where(generator.random(n) < 0.8, labels[copied], generator.integers(classes, size=n))
        guessed_labels[guessed_labels == classes - 2] = classes - 1
        scores = generator.integers(0, score_levels, n) / score_levels
        found.append(PictureDetections(guessed, scores, guessed_labels))
    return found, truths


@pytest.mark.parametrize("seed", range(12))
def test_equal_to_pycocotools(seed):
    assert_equal_to_pycocotools(*random_pictures(seed, 20, 4, 8, 20, score_levels=1000, step=1), 4)


@pytest.mark.parametrize("seed", range(12))
def test_equal_to_pycocotools_with_many_equal_scores_and_overlaps(seed):
    assert_equal_to_pycocotools(*random_pictures(seed, 15, 4, 6, 20, score_levels=4, step=8, crowd=0.3), 4)


@pytest.mark.parametrize("seed", range(3))
def test_equal_to_pycocotools_beyond_a_hundred_detections(seed):
    assert_equal_to_pycocotools(*random_pictures(seed, 6, 3, 10, 400, score_levels=50, step=2), 3)
