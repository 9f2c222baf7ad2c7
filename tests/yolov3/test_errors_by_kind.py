"""Errors by kind and the confusion matrix: each rule by hand, and sums that must hold on random pictures."""

import numpy as np
import pytest

from yolov3.boxes import iou_xyxy
from yolov3.errors_by_kind import KINDS, confusion_matrix, error_table, find_errors
from yolov3.metrics import PictureDetections, PictureTruth

CAT, DOG = 0, 1
BOX = (0, 0, 100, 100)
FAR = (300, 300, 400, 400)


def detections(*rows):
    """From ``(label, score, box)``."""
    return PictureDetections([box for *_, box in rows], [score for _, score, _ in rows], [label for label, *_ in rows])


def truth(*rows, **flags):
    """From ``(label, box)``."""
    return PictureTruth([box for _, box in rows], [label for label, _ in rows], **flags)


def high(height):
    """A box with IoU ``height / 100`` with BOX."""
    return (0, 0, 100, height)


def errors_of(found, truths, **options):
    """``[(kind, detection, truth), ...]`` of one picture."""
    errors = find_errors([found], [truths], 2, **options)
    assert list(errors) == list(KINDS)
    assert all(error.kind == kind for kind, of_this_kind in errors.items() for error in of_this_kind)
    return [(error.kind, error.detection, error.truth) for each in errors.values() for error in each]


@pytest.mark.parametrize(
    ("label", "box", "expected"),
    [
        (CAT, high(50), []),
        (CAT, high(49), [("poor box", 0, 0)]),
        (CAT, high(10), [("poor box", 0, 0)]),
        (CAT, high(9), [("missed", None, 0), ("background", 0, None)]),
        (CAT, FAR, [("missed", None, 0), ("background", 0, None)]),
        (DOG, high(50), [("wrong class", 0, 0)]),
        (DOG, high(49), [("missed", None, 0), ("background", 0, None)]),
    ],
)
def test_one_detection_of_one_cat(label, box, expected):
    assert errors_of(detections((label, 0.9, box)), truth((CAT, BOX))) == expected


def test_the_second_find_of_an_object_is_a_duplicate_of_the_surer_one():
    found = detections((CAT, 0.6, BOX), (CAT, 0.8, high(60)))
    (error,) = find_errors([found], [truth((CAT, BOX))], 2)["duplicate"]
    assert (error.detection, error.truth, error.surer) == (0, 0, 1)
    assert error.iou == 1


def test_a_second_object_still_free_is_no_duplicate():
    found = detections((CAT, 0.9, BOX), (CAT, 0.8, BOX))
    assert errors_of(found, truth((CAT, BOX), (CAT, high(60)))) == []


def test_a_duplicate_comes_before_a_wrong_class_and_that_before_a_poor_box():
    first = (CAT, 0.9, BOX)
    both = truth((CAT, BOX), (DOG, high(80)))
    found = detections(first, (CAT, 0.8, high(90)))
    # The dog is missed: the second cat is a duplicate of the first, not a wrong class of the dog.
    assert errors_of(found, both) == [("missed", None, 1), ("duplicate", 1, 0)]
    cat_beside_dog = truth((CAT, high(40)), (DOG, BOX))
    assert errors_of(detections((CAT, 0.9, BOX)), cat_beside_dog) == [("missed", None, 0), ("wrong class", 0, 1)]


def test_an_object_with_two_labels_may_be_found_as_both():
    found = detections((CAT, 0.9, BOX), (DOG, 0.8, BOX))
    assert errors_of(found, truth((CAT, BOX), (DOG, BOX))) == []


def test_unsure_detections_do_not_count():
    found, cat = detections((CAT, 0.3, BOX), (CAT, 0.2, FAR)), truth((CAT, BOX))
    assert errors_of(found, cat) == []
    assert errors_of(found, cat, confidence=0.2) == [("background", 1, None)]
    assert errors_of(found, cat, confidence=0.31) == [("missed", None, 0)]


def test_difficult_objects_and_crowds_need_not_be_found_and_finding_them_is_no_error():
    for flag in ("difficult", "crowd"):
        cat = truth((CAT, BOX), **{flag: [True]})
        assert errors_of(detections(), cat) == []
        assert errors_of(detections((CAT, 0.9, BOX), (CAT, 0.8, high(70))), cat) == []
        assert errors_of(detections((DOG, 0.9, BOX)), cat) == [("background", 0, None)]
        assert confusion_matrix([detections((CAT, 0.9, BOX))], [cat], 2).sum() == 0
    inside = detections((CAT, 0.9, (10, 10, 30, 30)))  # IoU 0.04, but wholly inside
    assert errors_of(inside, truth((CAT, BOX), crowd=[True])) == []
    assert errors_of(inside, truth((CAT, BOX), difficult=[True])) == [("background", 0, None)]


def test_the_worst_come_first():
    found = [detections((CAT, 0.5, FAR)), detections((CAT, 0.7, FAR), (CAT, 0.9, (500, 500, 510, 510)))]
    truths = [truth((CAT, (0, 0, 10, 10))), truth((CAT, BOX), (CAT, (600, 600, 620, 620)))]
    errors = find_errors(found, truths, 2)
    assert [(each.picture, each.truth) for each in errors["missed"]] == [(1, 0), (1, 1), (0, 0)]
    assert [(each.picture, each.detection) for each in errors["background"]] == [(1, 1), (1, 0), (0, 0)]


def test_the_table_counts_every_kind():
    errors = find_errors([detections((CAT, 0.9, FAR), (CAT, 0.9, high(20)))], [truth((CAT, BOX), (DOG, BOX))], 2, 0.4)
    header, *rows = error_table(errors, 0.4).splitlines()
    assert "0.4" in header
    counts = {kind: next(row for row in rows if row.startswith(kind)).split()[len(kind.split())] for kind in KINDS}
    assert counts == {"missed": "1", "wrong class": "0", "poor box": "1", "background": "1", "duplicate": "0"}
    assert len(rows) == len(KINDS)


def test_labels_and_pictures_are_checked():
    for judge in (find_errors, confusion_matrix):
        with pytest.raises(ValueError, match="truths of 0"):
            judge([detections()], [], 2)
        with pytest.raises(ValueError, match="a label outside"):
            judge([detections((2, 0.9, BOX))], [truth()], 2)


# --------------------------------------------------------------------------------------------- confusion


def test_confusion_by_hand():
    found = detections((CAT, 0.9, BOX), (DOG, 0.8, BOX), (DOG, 0.7, FAR), (CAT, 0.6, (800, 800, 900, 900)))
    # The cat is found; that it is a dog, too, is said of nothing.  The far cat is taken for a dog; the last dog
    # is not found.
    truths = truth((CAT, BOX), (CAT, FAR), (DOG, (600, 0, 700, 100)))
    assert confusion_matrix([found], [truths], 2).tolist() == [[1, 1, 0], [0, 0, 1], [1, 1, 0]]


def test_a_right_but_less_sure_detection_goes_before_a_wrong_one():
    found = detections((DOG, 0.9, BOX), (CAT, 0.5, BOX))
    assert confusion_matrix([found], [truth((CAT, BOX))], 2).tolist() == [[1, 0, 0], [0, 0, 0], [0, 1, 0]]


def test_a_poor_box_is_background_and_its_object_not_found():
    matrix = confusion_matrix([detections((CAT, 0.9, high(49)))], [truth((CAT, BOX))], 2)
    assert matrix.tolist() == [[0, 0, 1], [0, 0, 0], [1, 0, 0]]


def random_pictures(seed, pictures=12, classes=3):
    generator = np.random.default_rng(seed)
    found, truths = [], []
    for _ in range(pictures):
        m, n = generator.integers(0, 7), generator.integers(0, 12)
        corners = generator.integers(0, 80, (m + 1, 2))
        boxes = np.concatenate([corners, corners + generator.integers(20, 60, (m + 1, 2))], axis=1)
        labels = generator.integers(0, classes, m + 1)
        copied = generator.integers(0, m + 1, n)
        guessed = boxes[copied] + generator.integers(-12, 13, (n, 4))
        guessed_labels = np.where(generator.random(n) < 0.7, labels[copied], generator.integers(0, classes, n))
        truths.append(PictureTruth(boxes[:m], labels[:m], crowd=generator.random(m) < 0.1))
        found.append(PictureDetections(guessed, generator.random(n), guessed_labels))
    return found, truths


@pytest.mark.parametrize("seed", range(5))
def test_on_random_pictures_everything_is_counted_once(seed):
    found, truths = random_pictures(seed)
    matrix = confusion_matrix(found, truths, 3, confidence=0.25)
    errors = find_errors(found, truths, 3, confidence=0.25)
    sure = np.concatenate([each.labels[each.scores >= 0.25] for each in found])
    asked = np.concatenate([each.labels[~each.crowd] for each in truths])
    # Every object in its row; every sure detection in its column, but for those of crowds.
    assert matrix[:-1].sum(axis=1).tolist() == np.bincount(asked, minlength=3).tolist()
    assert (matrix[:, :-1].sum(axis=0) <= np.bincount(sure, minlength=3)).all()
    wrong = sum(len(errors[kind]) for kind in KINDS if kind != "missed")
    assert np.trace(matrix[:-1, :-1]) + wrong == matrix[:, :-1].sum()
    # What is said of an error is so.
    for kind in ("wrong class", "poor box", "duplicate"):
        for error in errors[kind]:
            one, other = found[error.picture], truths[error.picture]
            iou = iou_xyxy(one.boxes_xyxy[error.detection], other.boxes_xyxy[error.truth])
            assert error.iou == pytest.approx(iou)
            assert (0.1 <= iou < 0.5) == (kind == "poor box")
            assert (one.labels[error.detection] != other.labels[error.truth]) == (kind == "wrong class")
    for error in errors["duplicate"]:
        one = found[error.picture]
        assert one.scores[error.surer] >= one.scores[error.detection]
