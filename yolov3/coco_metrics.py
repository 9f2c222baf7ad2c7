"""Average precision as COCO measures it: the mean over ten overlaps, and by size of object.

Against Pascal VOC (:mod:`yolov3.voc_metrics`): AP is averaged over IoU 0.50, 0.55 ... 0.95, so boxes
that fit tightly score higher; the curve is read at 101 recalls; only the 100 surest detections of a
picture and class count; a detection takes the best object *still free*; and crowd boxes are ignored.
Source: the protocol of https://cocodataset.org/#detection-eval as its program, pycocotools, applies it.
"""

from dataclasses import dataclass

import numpy as np

from yolov3.boxes import box_area, intersection_area, iou_xyxy
from yolov3.metrics import check_pictures, mean_of_present

IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10)
RECALL_POINTS = np.linspace(0.0, 1.0, 101)
RECALL_LIMITS = (1, 10, 100)  # detections per picture and class; AP uses the last
# Smallest and largest area in square pixels, both included: all, small, medium, large.
AREA_RANGES = np.array([[0, 1e10], [0, 32**2], [32**2, 96**2], [96**2, 1e10]])


@dataclass(frozen=True, eq=False)
class CocoResult:
    """COCO's twelve numbers, and AP per class.  NaN where there is nothing to find (pycocotools: -1).

    ``ap`` is the mean over the ten overlaps, ``ap50`` and ``ap75`` hold at one; ``ap_small``,
    ``ap_medium``, ``ap_large`` count objects of area up to 32², up to 96², and above.  ``ar1``, ``ar10``,
    ``ar100`` are the recalls, meaned over overlaps and classes, with that many detections per picture and
    class; ``ar_small`` ... as for ``ap``.  ``class_ap`` is ``(classes,)``, and ``class_ap_by_size
    (classes, 3)`` is the same for small, medium and large objects.
    """

    ap: float
    ap50: float
    ap75: float
    ap_small: float
    ap_medium: float
    ap_large: float
    ar1: float
    ar10: float
    ar100: float
    ar_small: float
    ar_medium: float
    ar_large: float
    class_ap: np.ndarray
    class_ap_by_size: np.ndarray


@dataclass(frozen=True, eq=False)
class _Matches:
    """How one class's detections in one picture fared: ``n`` detections from the surest down."""

    scores: np.ndarray  # (n,)
    matched: np.ndarray  # (areas, thresholds, n): has an object
    ignored: np.ndarray  # (areas, thresholds, n): counts neither for nor against
    truth_counts: np.ndarray  # (areas,): objects asked for


def coco_average_precision(detections, truths, class_count):
    """COCO's AP and recalls: a :class:`CocoResult`.

    ``detections`` and ``truths`` are one PictureDetections and one PictureTruth per picture.  Boxes are
    measured without VOC's extra pixel.  Crowd boxes need not be found, and may swallow any number of
    detections.  COCO knows no difficult objects; ours are ignored as COCO ignores objects of the wrong
    size: not asked for, and the one detection each may take is not counted.

    ValueError for a label outside ``0..class_count - 1`` or lists of unequal length.
    """
    check_pictures(detections, truths, class_count)
    matches = [[] for _ in range(class_count)]
    for found, truth in zip(detections, truths, strict=True):
        for label in np.union1d(found.labels, truth.labels):
            matches[label].append(_match_picture(found, truth, label))

    ap = np.full((class_count, len(AREA_RANGES), len(IOU_THRESHOLDS)), np.nan)
    recall = np.full((class_count, len(RECALL_LIMITS), len(AREA_RANGES), len(IOU_THRESHOLDS)), np.nan)
    for label in range(class_count):
        if matches[label]:
            ap[label], recall[label] = _score_class(matches[label])
    every, small, medium, large = (ap[:, area] for area in range(len(AREA_RANGES)))  # (classes, thresholds) each
    return CocoResult(
        ap=mean_of_present(every),
        ap50=mean_of_present(every[:, 0]),
        ap75=mean_of_present(every[:, 5]),
        ap_small=mean_of_present(small),
        ap_medium=mean_of_present(medium),
        ap_large=mean_of_present(large),
        ar1=mean_of_present(recall[:, 0, 0]),
        ar10=mean_of_present(recall[:, 1, 0]),
        ar100=mean_of_present(recall[:, 2, 0]),
        ar_small=mean_of_present(recall[:, 2, 1]),
        ar_medium=mean_of_present(recall[:, 2, 2]),
        ar_large=mean_of_present(recall[:, 2, 3]),
        class_ap=every.mean(axis=1),
        class_ap_by_size=ap[:, 1:].mean(axis=2),
    )


def _match_picture(found, truth, label):
    """Match one picture's detections of one class with its objects, under every area range and threshold."""
    mine = np.flatnonzero(found.labels == label)
    mine = mine[np.argsort(-found.scores[mine], kind="stable")][: RECALL_LIMITS[-1]]
    theirs = np.flatnonzero(truth.labels == label)
    boxes_xyxy, truth_boxes_xyxy = found.boxes_xyxy[mine], truth.boxes_xyxy[theirs]
    crowd = truth.crowd[theirs]
    # (areas, truths): what need not be found.
    truth_ignored = crowd | truth.difficult[theirs] | _outside_area_ranges(truth.areas[theirs])
    ious = _overlaps(boxes_xyxy, truth_boxes_xyxy, crowd)

    matched = np.zeros((len(AREA_RANGES), len(IOU_THRESHOLDS), len(mine)), bool)
    matched_ignored = np.zeros_like(matched)
    free = np.ones((*matched.shape[:2], len(theirs)), bool)  # (areas, thresholds, truths)
    for index in np.flatnonzero((ious >= IOU_THRESHOLDS[0]).any(axis=1)):  # the others match nothing
        candidates = free & (ious[index] >= IOU_THRESHOLDS[:, None])
        wanted = candidates & ~truth_ignored[:, None]
        # An object that counts is preferred to any that is ignored, however well that one fits.
        candidates = np.where(wanted.any(axis=-1, keepdims=True), wanted, candidates)
        fit = np.where(candidates, ious[index], -1.0)
        best = len(theirs) - 1 - fit[..., ::-1].argmax(axis=-1)  # (areas, thresholds): of equal fits the last
        has_match = candidates.any(axis=-1)
        area, threshold = np.nonzero(has_match)
        free[area, threshold, best[has_match]] = crowd[best[has_match]]  # a crowd is never used up
        matched[..., index] = has_match
        matched_ignored[..., index] = has_match & np.take_along_axis(truth_ignored, best, axis=1)
    # A detection of the wrong size that found nothing is no mistake either.
    wrong_size = _outside_area_ranges(box_area(boxes_xyxy))[:, None]
    return _Matches(
        found.scores[mine], matched, matched_ignored | (~matched & wrong_size), (~truth_ignored).sum(axis=1)
    )


def _outside_area_ranges(areas):
    """``(n,) -> (area ranges, n)``: True where an area lies outside a range."""
    return (areas < AREA_RANGES[:, :1]) | (areas > AREA_RANGES[:, 1:])


def _overlaps(boxes_xyxy, truth_boxes_xyxy, crowd):
    """IoU ``(n, m)``; with a crowd instead the share of the detection that lies inside it."""
    ious = iou_xyxy(boxes_xyxy[:, None], truth_boxes_xyxy[None, :])
    if not crowd.any():
        return ious
    shared = intersection_area(boxes_xyxy[:, None], truth_boxes_xyxy[None, :])  # (n, m)
    areas = box_area(boxes_xyxy)[:, None]
    return np.where(crowd, shared / np.where(shared > 0, areas, 1), ious)


def _score_class(matches):
    """One class's AP ``(areas, thresholds)`` and recalls ``(limits, areas, thresholds)``; NaN without objects."""
    scores = np.concatenate([match.scores for match in matches])
    order = np.argsort(-scores, kind="stable")
    rank = np.concatenate([np.arange(len(match.scores)) for match in matches])[order]  # place within its picture
    matched = np.concatenate([match.matched for match in matches], axis=-1)[..., order]  # (areas, thresholds, n)
    ignored = np.concatenate([match.ignored for match in matches], axis=-1)[..., order]
    truth_counts = np.sum([match.truth_counts for match in matches], axis=0)  # (areas,)

    ap = np.full(matched.shape[:2], np.nan)
    recall = np.full((len(RECALL_LIMITS), *matched.shape[:2]), np.nan)
    for area in np.flatnonzero(truth_counts):
        right, wrong = matched[area] & ~ignored[area], ~matched[area] & ~ignored[area]  # (thresholds, n)
        ap[area] = _area_under_curve(right, wrong, truth_counts[area])
        for limit_index, limit in enumerate(RECALL_LIMITS):
            recall[limit_index, area] = right[:, rank < limit].sum(axis=1) / truth_counts[area]
    return ap, recall


def _area_under_curve(right, wrong, truth_count):
    """AP ``(thresholds,)`` from what each detection is, ``(thresholds, n)`` from the surest down."""
    right_so_far, wrong_so_far = np.cumsum(right, axis=1), np.cumsum(wrong, axis=1)
    recall = right_so_far / truth_count
    precision = right_so_far / np.maximum(right_so_far + wrong_so_far, 1)
    # The envelope: the best precision at this recall or any higher one.  A zero stands for recalls never reached.
    envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    envelope = np.pad(envelope, ((0, 0), (0, 1)))  # (thresholds, n + 1)
    reached = np.array([np.searchsorted(row, RECALL_POINTS) for row in recall])  # (thresholds, 101)
    return np.take_along_axis(envelope, reached, axis=1).mean(axis=1)
