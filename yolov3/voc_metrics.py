"""Average precision as Pascal VOC measures it, at one overlap (usually IoU 0.5).

A detection is right when it overlaps an object of its class by at least the threshold and no surer
detection has claimed that object.  Going down the list from the surest detection,

    precision = right so far / detections so far        recall = right so far / objects

and average precision (AP) is the area under precision as a function of recall; mAP is its mean over
the classes.  Source: Everingham et al., "The Pascal Visual Object Classes (VOC) Challenge", IJCV
2010, section 4.2, and the rules of the VOC development kit.
"""

from dataclasses import dataclass

import numpy as np

from yolov3.boxes import iou_xyxy
from yolov3.metrics import check_pictures, mean_of_present


@dataclass(frozen=True, eq=False)
class PrecisionRecallCurve:
    """One class's detections from the surest down, ``n`` of them, without the ignored ones.

    ``scores (n,)``, and the ``precision (n,)`` and ``recall (n,)`` of all detections down to each.
    """

    scores: np.ndarray
    precision: np.ndarray
    recall: np.ndarray


@dataclass(frozen=True, eq=False)
class VocResult:
    """``mean_ap``, the mean of ``class_ap (classes,)``, and what it was made of.

    ``class_ap`` is NaN for a class without objects, which the mean leaves out (NaN if there is none at
    all).  ``truth_counts (classes,)`` are the objects asked for, ``curves`` one
    :class:`PrecisionRecallCurve` per class (recall is NaN where there are no objects).
    """

    mean_ap: float
    class_ap: np.ndarray
    truth_counts: np.ndarray
    curves: tuple


def voc_average_precision(
    detections, truths, class_count, iou_threshold=0.5, method="all", plus_one=False, count_difficult=False
):
    """Pascal VOC's AP per class, and their mean: a :class:`VocResult`.

    ``detections`` and ``truths`` are one PictureDetections and one PictureTruth per picture.

    - ``method``: ``"all"``, the area under the curve (VOC since 2010), or ``"11pt"``, the mean of eleven
      points of it (VOC 2007);
    - ``plus_one``: measure sides as VOC's tools do, ``right - left + 1``;
    - ``count_difficult``: ask for difficult objects too.  By default nobody need find them, and a
      detection whose best overlap is one of them counts neither for nor against.  COCO's crowd boxes
      are always treated that way.

    ValueError for an unknown method, a label outside ``0..class_count - 1``, or lists of unequal length.
    """
    if method not in ("all", "11pt"):
        raise ValueError(f"unknown method {method!r}: choose 'all' or '11pt'")
    check_pictures(detections, truths, class_count)
    scores, labels, best_ious, best_truths = _best_truth_of_each_detection(detections, truths, plus_one)
    truth_labels = np.concatenate([np.zeros(0, np.int64), *(truth.labels for truth in truths)])  # (all truths,)
    ignored = [truth.crowd if count_difficult else truth.crowd | truth.difficult for truth in truths]
    ignored = np.concatenate([np.zeros(0, bool), *ignored])  # (all truths,)
    truth_counts = np.bincount(truth_labels[~ignored], minlength=class_count)

    class_ap, curves = np.full(class_count, np.nan), []
    for label in range(class_count):
        members = np.flatnonzero(labels == label)
        # A stable sort: of two equal scores the detection that was listed first comes first.
        members = members[np.argsort(-scores[members], kind="stable")]
        overlaps = best_ious[members] >= iou_threshold
        targets = np.where(overlaps, best_truths[members], -1)  # (detections of this class,)
        counted = ~overlaps | ~np.append(ignored, False)[targets]
        right = (_is_first_of_its_kind(targets) & overlaps)[counted]
        right_so_far = np.cumsum(right)
        if truth_counts[label]:
            class_ap[label] = _area_under_curve(right_so_far, truth_counts[label], method)
        recall = right_so_far / (truth_counts[label] or np.nan)
        precision = right_so_far / np.arange(1, len(right) + 1)
        curves.append(PrecisionRecallCurve(scores[members][counted], precision, recall))
    return VocResult(mean_of_present(class_ap), class_ap, truth_counts, tuple(curves))


@dataclass(frozen=True, eq=False)
class F1Curves:
    """F1 for every least score from 0 to 1: ``confidences (t,)``, ``class_f1 (classes, t)`` and ``mean_f1 (t,)``.

    ``class_f1`` is NaN for a class without objects, which the mean leaves out (NaN if there is none at all).
    ``detections`` is how many of those classes there are at all.
    """

    confidences: np.ndarray
    class_f1: np.ndarray
    mean_f1: np.ndarray
    detections: int

    def best(self):
        """``(least score, mean F1)`` where the mean over the classes is highest; of several the lowest score."""
        index = int(self.mean_f1.argmax())
        return float(self.confidences[index]), float(self.mean_f1[index])


def f1_curves(result, points=1001):
    """F1 of every class when only detections with at least some score are kept: :class:`F1Curves`.

    ``F1 = 2 * precision * recall / (precision + recall)``, the harmonic mean of the two, at ``points`` least scores
    evenly spaced from 0 to 1; 0 where nothing is right.  ``result`` is a :class:`VocResult`.  Source: van Rijsbergen,
    "Information Retrieval", 1979, chapter 7, with equal weights.
    """
    confidences = np.linspace(0, 1, points)  # (t,)
    class_f1 = np.full((len(result.curves), points), np.nan)
    for label in np.flatnonzero(result.truth_counts):
        curve = result.curves[label]
        both = np.maximum(curve.precision + curve.recall, 1e-9)
        f1 = np.append(2 * curve.precision * curve.recall / both, 0.0)  # (n + 1,); the last: nothing is kept
        kept = np.searchsorted(-curve.scores, -confidences, side="right")  # (t,): scores of at least so much
        class_f1[label] = f1[kept - 1]
    present = class_f1[result.truth_counts > 0]  # (classes with objects, t)
    mean_f1 = present.mean(axis=0) if len(present) else np.full(points, np.nan)
    detections = sum(len(result.curves[label].scores) for label in np.flatnonzero(result.truth_counts))
    return F1Curves(confidences, class_f1, mean_f1, detections)


def mean_precision(result, points=1001):
    """Recalls from 0 to 1, and for each the mean over the classes of their precision: two arrays ``(points,)``.

    As for the AP, a class's precision is the best at this recall or any higher one, and 0 beyond its highest: the area
    below is about ``mean_ap``.  Classes without objects are left out; NaN if there is no other.  ``result`` is a
    :class:`VocResult`.
    """
    recalls, precisions = np.linspace(0, 1, points), []
    for label in np.flatnonzero(result.truth_counts):
        curve = result.curves[label]
        precisions.append(_envelope(curve.precision)[np.searchsorted(curve.recall, recalls)])
    return recalls, np.mean(precisions, axis=0) if precisions else np.full(points, np.nan)


def _best_truth_of_each_detection(detections, truths, plus_one):
    """Scores, labels, highest IoU with a truth of the same class and picture, and that truth's number.

    All ``(all detections,)``, pictures one after the other; truths are numbered through all pictures.
    VOC picks the truth by overlap alone, free or taken; of equal overlaps the first.
    """
    scores, labels, best_ious, best_truths = [np.zeros(0)], [np.zeros(0, np.int64)], [np.zeros(0)], [np.zeros(0, int)]
    first_truth = 0
    for found, truth in zip(detections, truths, strict=True):
        scores.append(found.scores)
        labels.append(found.labels)
        if len(truth.labels):
            ious = iou_xyxy(found.boxes_xyxy[:, None], truth.boxes_xyxy[None, :], plus_one)  # (found, truths)
            ious = np.where(found.labels[:, None] == truth.labels[None, :], ious, -1.0)
            best_ious.append(ious.max(axis=1))
            best_truths.append(first_truth + ious.argmax(axis=1))
        else:
            best_ious.append(np.full(len(found.labels), -1.0))
            best_truths.append(np.full(len(found.labels), -1))
        first_truth += len(truth.labels)
    return tuple(np.concatenate(parts) for parts in (scores, labels, best_ious, best_truths))


def _is_first_of_its_kind(values):
    """True where a value appears for the first time: ``(n,) -> (n,)``.  Later ones find the truth taken."""
    first = np.zeros(len(values), bool)
    first[np.unique(values, return_index=True)[1]] = True
    return first


def _envelope(precision):
    """The best precision at this recall or any higher one ``(n + 1,)``; a zero stands for recalls never reached."""
    return np.append(np.maximum.accumulate(precision[::-1])[::-1], 0.0)


def _area_under_curve(right_so_far, truth_count, method):
    """AP from ``right_so_far (n,)``, the number of right detections among the first 1, 2, ... n."""
    envelope = _envelope(right_so_far / np.arange(1, len(right_so_far) + 1))  # (n + 1,)
    if method == "11pt":
        # In floating point, as the usual tools do it: their point "0.3" is 0.30000000000000004,
        # which 3 objects of 10 just miss.  Exact fractions would give other figures than the published ones.
        reached = np.searchsorted(right_so_far / truth_count, np.linspace(0, 1, 11))
        return envelope[reached].mean()
    # Recall grows by 1/truth_count at every right detection: a sum of bars of that width.
    is_right = np.diff(right_so_far, prepend=0) > 0
    return envelope[:-1][is_right].sum() / truth_count
