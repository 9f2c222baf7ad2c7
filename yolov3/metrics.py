"""What an evaluation compares: the boxes found in a picture and the boxes that are there.

The two ways of scoring them are in :mod:`yolov3.voc_metrics` (Pascal VOC's average precision) and
:mod:`yolov3.coco_metrics` (COCO's, averaged over overlaps).  Both take one :class:`PictureDetections`
and one :class:`PictureTruth` per picture, in the same order.  NumPy only: no model, no autograd.
"""

from dataclasses import dataclass

import numpy as np

from yolov3.boxes import box_area


@dataclass(frozen=True, eq=False)
class PictureDetections:
    """The ``n`` boxes found in one picture, in any order.

    ``boxes_xyxy (n, 4)`` in pixels of the picture, ``scores (n,)`` (higher is surer) and ``labels (n,)``,
    class indices from 0.  Anything array-like is converted: boxes and scores to float64, labels to int64.
    ValueError where the lengths differ or a box or score is not finite.
    """

    boxes_xyxy: np.ndarray
    scores: np.ndarray
    labels: np.ndarray

    def __post_init__(self):
        boxes_xyxy = _finite_array("boxes_xyxy", self.boxes_xyxy, (-1, 4))
        _set(self, "boxes_xyxy", boxes_xyxy)
        _set(self, "scores", _finite_array("scores", self.scores, (len(boxes_xyxy),)))
        _set(self, "labels", _column("labels", self.labels, len(boxes_xyxy), np.int64))


@dataclass(frozen=True, eq=False)
class PictureTruth:
    """The ``m`` boxes that really are in one picture.

    ``boxes_xyxy (m, 4)`` in pixels of the picture and ``labels (m,)``, class indices from 0.  Optional:

    - ``difficult (m,)`` bool: Pascal VOC's mark for objects too hard to ask for (default: none);
    - ``crowd (m,)`` bool: COCO's mark for one box around many objects (default: none);
    - ``areas (m,)``: what COCO sorts into small, medium and large.  COCO's own files give the area of
      the object's outline; the default is the area of the box.

    ValueError as for :class:`PictureDetections`.
    """

    boxes_xyxy: np.ndarray
    labels: np.ndarray
    difficult: np.ndarray | None = None
    crowd: np.ndarray | None = None
    areas: np.ndarray | None = None

    def __post_init__(self):
        boxes_xyxy = _finite_array("boxes_xyxy", self.boxes_xyxy, (-1, 4))
        count = len(boxes_xyxy)
        _set(self, "boxes_xyxy", boxes_xyxy)
        _set(self, "labels", _column("labels", self.labels, count, np.int64))
        for name in ("difficult", "crowd"):
            flags = getattr(self, name)
            _set(self, name, _column(name, np.zeros(count) if flags is None else flags, count, bool))
        areas = box_area(boxes_xyxy) if self.areas is None else self.areas
        _set(self, "areas", _finite_array("areas", areas, (count,)))


def check_pictures(detections, truths, class_count):
    """ValueError unless there is one truth per detection and every label lies in ``[0, class_count)``."""
    if len(detections) != len(truths):
        raise ValueError(f"detections of {len(detections)} pictures but truths of {len(truths)}: give one each")
    for kind, pictures in (("detections", detections), ("truths", truths)):
        for index, picture in enumerate(pictures):
            if np.any((picture.labels < 0) | (picture.labels >= class_count)):
                raise ValueError(f"{kind} of picture {index}: a label outside 0..{class_count - 1}")


def mean_of_present(values):
    """The mean of the values that are not NaN; NaN where there is none.  NaN marks "nothing to find here"."""
    values = np.asarray(values)
    present = values[~np.isnan(values)]
    return float(present.mean()) if present.size else float("nan")


def _set(instance, name, value):
    object.__setattr__(instance, name, value)  # the dataclass is frozen once it is made


def _finite_array(name, values, shape):
    array = np.asarray(values, dtype=np.float64)
    if array.size == 0 and shape[0] in (-1, 0):
        array = array.reshape((0, *shape[1:]))  # so that [] stands for "no boxes"
    if array.ndim != len(shape) or any(want not in (-1, have) for want, have in zip(shape, array.shape, strict=True)):
        raise ValueError(f"{name} has shape {array.shape}, wanted {shape}")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} holds a value that is not finite")
    return array


def _column(name, values, count, dtype):
    array = np.asarray(values, dtype=dtype)
    if array.shape != (count,):
        raise ValueError(f"{name} has shape {array.shape}, wanted ({count},)")
    return array
