"""What a detector gets wrong, sorted by kind, and which class it takes for which.

Average precision says how good a detector is; this says what to work on.  Judged is what a person would
be shown: the detections with a score of at least ``confidence``.  From the surest down, a detection is
right when it overlaps an object of its class that is still free by IoU 0.5; every other one is an error
of the first of these kinds that fits:

- ``duplicate``: it overlaps an object of its class by 0.5, but a surer detection has found that one;
- ``wrong class``: it overlaps an object of another class by 0.5;
- ``poor box``: it overlaps an object of its class by 0.1 to 0.5;
- ``background``: none of these: it shows nothing that is there.

An object is ``missed`` if nothing found it and no wrong class or poor box points at it either, so that
one mistake is not counted twice.  Difficult objects and crowds need not be found, and a detection of one
is no error.  After Bolya et al., "TIDE: A General Toolbox for Identifying Object Detection Errors", ECCV
2020, section 2.2.  NumPy only.
"""

from dataclasses import dataclass

import numpy as np

from yolov3.boxes import box_area, intersection_area, iou_xyxy
from yolov3.metrics import check_pictures
from yolov3.thresholds import SHOWN_CONFIDENCE

RIGHT_IOU = 0.5  # least overlap of a box that is right
POOR_IOU = 0.1  # least overlap of one that means an object, but lies badly
KINDS = {
    "missed": "an object that nothing points at",
    "wrong class": f"IoU of at least {RIGHT_IOU} with an object of another class",
    "poor box": f"right class, but IoU only {POOR_IOU} to {RIGHT_IOU}",
    "background": "a detection where nothing is",
    "duplicate": "an object that a surer detection has found",
}


@dataclass(frozen=True)
class DetectionError:
    """One mistake: its kind, the picture's number, and who is involved, by number within the picture.

    ``detection`` is None for a missed object, ``truth`` None for background; ``iou`` is the overlap of the two
    (0 where one is absent); ``surer`` is the detection that had found a duplicate's object before.
    """

    kind: str
    picture: int
    detection: int | None = None
    truth: int | None = None
    iou: float = 0.0
    surer: int | None = None


@dataclass(frozen=True, eq=False)
class _Judgement:
    """The ``k`` sure detections of one picture, from the surest down, beside its ``m`` objects."""

    shown: np.ndarray  # (k,): their numbers among all detections of the picture
    object_found: np.ndarray  # (k,): the object that each found rightly, or -1
    to_judge: np.ndarray  # (k,) bool: not right, and not the find of a difficult object or a crowd
    ious: np.ndarray  # (k, m): overlap with each object that is asked for; -1 with the others
    same_class: np.ndarray  # (k, m) bool
    asked: np.ndarray  # (m,) bool: neither difficult nor a crowd


def find_errors(detections, truths, class_count, confidence=SHOWN_CONFIDENCE):
    """All mistakes as ``{kind: [DetectionError, ...]}``, every kind of KINDS, the worst first.

    ``detections`` and ``truths`` are one PictureDetections and one PictureTruth per picture.  The worst are the
    surest detections, and the largest of the missed objects.  ValueError as for
    :func:`yolov3.metrics.check_pictures`.
    """
    check_pictures(detections, truths, class_count)
    errors = {kind: [] for kind in KINDS}
    for picture, (found, truth) in enumerate(zip(detections, truths, strict=True)):
        for error in _errors_of_picture(picture, found, truth, _judge(found, truth, confidence)):
            errors[error.kind].append(error)
    for kind, of_this_kind in errors.items():
        if kind == "missed":
            of_this_kind.sort(key=lambda error: -box_area(truths[error.picture].boxes_xyxy[error.truth]))
        else:
            of_this_kind.sort(key=lambda error: -detections[error.picture].scores[error.detection])
    return errors


def error_table(errors, confidence=SHOWN_CONFIDENCE):
    """How many mistakes of each kind there are among detections of this confidence, as text."""
    width = max(map(len, KINDS))
    lines = [f"{'error':<{width}} {'count':>6}  (detections with a score of at least {confidence:g})"]
    lines += [f"{kind:<{width}} {len(errors[kind]):>6}  {meaning}" for kind, meaning in KINDS.items()]
    return "\n".join(lines)


def confusion_matrix(detections, truths, class_count, confidence=SHOWN_CONFIDENCE):
    """Which class is taken for which: counts ``(classes + 1, classes + 1)``, truth down, detection across.

    The last row and column are the background.  Right detections take their objects first; then each other one,
    from the surest down, takes the object still free that it overlaps most, of whatever class, by IoU 0.5 at
    least.  Detections that are left stand in the last row, objects that are left in the last column: so row ``c``
    adds up to the objects of class ``c``, and column ``c`` to the detections of it.  Difficult objects, crowds
    and their detections are left out.  ValueError as for :func:`yolov3.metrics.check_pictures`.
    """
    check_pictures(detections, truths, class_count)
    matrix = np.zeros((class_count + 1, class_count + 1), np.int64)
    for found, truth in zip(detections, truths, strict=True):
        judgement = _judge(found, truth, confidence)
        labels = found.labels[judgement.shown]  # (k,)
        free = judgement.asked.copy()  # (m,)
        right = judgement.object_found >= 0
        free[judgement.object_found[right]] = False
        np.add.at(matrix, (labels[right], labels[right]), 1)
        for row in np.flatnonzero(judgement.to_judge):
            taken = _best(judgement.ious[row], free, RIGHT_IOU)
            if taken is None:
                matrix[-1, labels[row]] += 1
            else:
                free[taken] = False
                matrix[truth.labels[taken], labels[row]] += 1
        np.add.at(matrix, (truth.labels[free], class_count), 1)
    return matrix


def _judge(found, truth, confidence):
    """Match one picture's sure detections with its objects: a :class:`_Judgement`."""
    order = np.argsort(-found.scores, kind="stable")
    shown = order[found.scores[order] >= confidence]
    boxes_xyxy = found.boxes_xyxy[shown]
    all_ious = iou_xyxy(boxes_xyxy[:, None], truth.boxes_xyxy[None, :])  # (k, m)
    asked = ~(truth.crowd | truth.difficult)
    ious = np.where(asked, all_ious, -1.0)
    same_class = found.labels[shown][:, None] == truth.labels[None, :]

    object_found, free = np.full(len(shown), -1), asked.copy()
    for row in range(len(shown)):
        best = _best(ious[row], free & same_class[row], RIGHT_IOU)
        if best is not None:
            object_found[row], free[best] = best, False
    # A find of what need not be found: as near to a difficult object, or as much of it inside a crowd, as is right.
    shared = intersection_area(boxes_xyxy[:, None], truth.boxes_xyxy[None, :])  # (k, m)
    inside = shared >= RIGHT_IOU * np.maximum(box_area(boxes_xyxy), 1e-9)[:, None]
    near = (all_ious >= RIGHT_IOU) | (truth.crowd & inside)
    excused = (near & same_class & ~asked).any(axis=1)  # (k,)
    return _Judgement(shown, object_found, (object_found < 0) & ~excused, ious, same_class, asked)


def _errors_of_picture(picture, found, truth, judgement):
    """Yield the mistakes in one picture."""
    pointed_at = np.zeros(len(truth.labels), bool)
    pointed_at[judgement.object_found[judgement.object_found >= 0]] = True
    for row in np.flatnonzero(judgement.to_judge):
        ious, same_class = judgement.ious[row], judgement.same_class[row]
        detection, surer = int(judgement.shown[row]), None
        if (best := _best(ious, same_class, RIGHT_IOU)) is not None:
            kind = "duplicate"
            surer = int(judgement.shown[np.flatnonzero(judgement.object_found == best)[0]])
        elif (best := _best(ious, ~same_class, RIGHT_IOU)) is not None:
            kind = "wrong class"
        elif (best := _best(ious, same_class, POOR_IOU)) is not None:
            kind = "poor box"
        else:
            yield DetectionError("background", picture, detection)
            continue
        pointed_at[best] = True
        yield DetectionError(kind, picture, detection, best, float(ious[best]), surer)
    for missed in np.flatnonzero(judgement.asked & ~pointed_at):
        yield DetectionError("missed", picture, truth=int(missed))


def _best(ious, candidates, least):
    """The candidate ``(m,)`` with the highest overlap, if it reaches ``least``; else None."""
    fit = np.where(candidates, ious, -1.0)
    best = int(fit.argmax()) if fit.size else None
    return best if best is not None and fit[best] >= least else None
