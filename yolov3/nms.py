"""Non-maximum suppression: of boxes that show the same object, keep the best (spec 8)."""

import numpy as np

from yolov3.boxes import iou_xyxy
from yolov3.thresholds import NMS_IOU


def non_maximum_suppression(boxes_xyxy, scores, labels, iou_threshold=NMS_IOU):
    """Indices of the boxes to keep, best score first.

    Class by class: take the best-scoring box, drop every other box of that class whose IoU with it is *greater*
    than ``iou_threshold``, and go on with the best of the rest.  Boxes of different classes never suppress each
    other, so overlapping labels survive.  Equal scores: the earlier box first.

    boxes_xyxy (count, 4); scores (count,); labels (count,) -> (kept,) whole numbers.
    """
    order = np.argsort(-scores, kind="stable")
    kept = []
    for label in np.unique(labels):
        waiting = order[labels[order] == label]
        while waiting.size:
            best, waiting = waiting[0], waiting[1:]
            kept.append(best)
            waiting = waiting[iou_xyxy(boxes_xyxy[best], boxes_xyxy[waiting]) <= iou_threshold]
    kept = np.array(kept, int)
    return kept[np.argsort(-scores[kept], kind="stable")]
