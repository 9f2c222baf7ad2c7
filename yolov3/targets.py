"""What each prediction shall become: positive, ignored or negative, and its box and classes (notes G; spec 5).

- *Positive*: for every true box exactly one prediction, that of the cell which holds its centre and of the anchor,
  among those of all scales, whose shape overlaps it most.  Its objectness target is 1.
- *Ignored*: every other prediction whose box overlaps some truth by more than a threshold: no loss at all.
- *Negative*: the rest: objectness target 0, nothing else.
"""

from dataclasses import dataclass

import numpy as np

from minidl.device import array_module
from yolov3.boxes import cxcywh_to_xyxy, iou_wh, iou_xyxy
from yolov3.decode import cell_corners, decode_boxes
from yolov3.devices import constant

# Enough that a GPU, to which each operation is a few microseconds of waiting, gets few of them.
IOUS_AT_ONCE = 1 << 21


@dataclass(frozen=True)
class ScaleTargets:
    """Targets of one head.  Leading axes are (batch, rows, columns, anchors).

    positive, negative: bool (an ignored prediction is neither); objectness (...): its target, 0 but at positives;
    offset (..., 2): centre within the cell, 0 to 1; log_size (..., 2): ln(size / anchor); box_weight (...):
    ``2 - w h`` at positives, 0 elsewhere;
    classes (..., classes): 1 for every class of the object, several where labels overlap.
    """

    positive: np.ndarray
    negative: np.ndarray
    objectness: np.ndarray
    offset: np.ndarray
    log_size: np.ndarray
    box_weight: np.ndarray
    classes: np.ndarray


@dataclass(frozen=True)
class TargetSettings:
    """How truths become targets.

    ignore_threshold: IoU above which a prediction is ignored: 0.7 in the COCO configuration, 0.5 in the VOC one and
        in the paper (notes G3).
    truth_threshold: IoU above which a prediction becomes positive too, whatever its anchor; 1 (never) as shipped.
        One that a truth claims by its anchor keeps that truth's classes alone (the original would add the other's).
    weigh_by_size: weigh box losses by ``2 - w h``, which favours small objects; else by 1.
    objectness: what a positive's objectness shall become: ``one``, or ``iou``, the overlap that its box has with the
        truth now, as in YOLOv1 and v2 (notes G3, G4).
    """

    ignore_threshold: float = 0.7
    truth_threshold: float = 1.0
    weigh_by_size: bool = True
    objectness: str = "one"

    def __post_init__(self):
        if self.objectness not in ("one", "iou"):
            raise ValueError(f"the target of objectness must be 'one' or 'iou', not {self.objectness!r}")


def best_anchors(truths, all_anchors, net_size):
    """Index of the anchor whose shape fits each truth best, over the anchors of all scales; ties to the first.

    truths: (batch, count, 5); all_anchors: (anchors, 2) in pixels; net_size: (width, height).  -> (batch, count).
    """
    fractions = constant(all_anchors, truths) / constant(net_size, truths)
    return iou_wh(truths[:, :, None, 2:4], fractions).argmax(axis=-1)


def scale_targets(head, truths, anchors, stride, first_anchor, best, settings):
    """:class:`ScaleTargets` for one head.

    Parameters
    ----------
    head: logits (batch, rows, columns, anchors * (5 + classes)), an array
    truths: (batch, count, 5): centre x, y, width, height as fractions of the network input, class; rows with width 0
        are padding
    anchors, stride: of this head; first_anchor: index of its first anchor in the list that ``best`` refers to
    best: :func:`best_anchors`
    """
    xp = array_module(head)
    batch, rows, columns, channels = head.shape
    count = len(anchors)
    classes = channels // count - 5
    shape = (batch, rows, columns, count)
    slots = batch * rows * columns * count  # a slot is one prediction: (picture, row, column, anchor)
    if truths.shape[1] == 0:  # no object in the whole batch: one row of padding, so that there is something to index
        truths, best = xp.zeros((batch, 1, 5), truths.dtype), xp.zeros((batch, 1), int)

    # Claims of padding and of other scales go to an extra slot at the end.
    claims = _claimed_slots(truths, best, first_anchor, shape)  # (batch, count)
    owner = _owners(claims, slots).reshape(shape)
    class_target = xp.zeros((slots + 1, classes), head.dtype)
    ones = xp.ones(claims.size, head.dtype)  # a plain number would be copied to a GPU
    class_target[claims.reshape(-1), truths[..., 4].reshape(-1).astype(int)] = ones
    class_target = class_target[:slots].reshape(*shape, classes)

    boxes_cxcywh = decode_boxes(head, anchors, stride)
    best_iou, nearest = _best_overlap(boxes_cxcywh, truths)
    overlapping = best_iou > settings.ignore_threshold
    by_overlap = (best_iou > settings.truth_threshold) & (owner < 0)
    owner = xp.where(by_overlap, nearest, owner)
    positive = owner >= 0
    truth = truths.reshape(-1, 5)[xp.maximum(owner, 0)]  # (batch, rows, columns, anchors, 5): box and class
    one_hot = truth[..., 4:].astype(int) == xp.arange(classes)
    class_target = xp.where(by_overlap[..., None], one_hot, class_target).astype(head.dtype)

    objectness = positive.astype(head.dtype)
    if settings.objectness == "iou":
        objectness = objectness * iou_xyxy(cxcywh_to_xyxy(boxes_cxcywh), cxcywh_to_xyxy(truth[..., :4]))

    grid = constant((columns, rows), head)
    sizes = xp.where(positive[..., None], truth[..., 2:4], 1)  # 1 where there is none: its logarithm is harmless
    weight = 2 - sizes[..., 0] * sizes[..., 1] if settings.weigh_by_size else xp.ones(shape)
    return ScaleTargets(
        positive=positive,
        negative=~positive & ~overlapping,
        objectness=objectness.astype(head.dtype),
        offset=(truth[..., 0:2] * grid - cell_corners(head)).astype(head.dtype),
        log_size=xp.log(sizes * (grid * stride) / constant(anchors, head)).astype(head.dtype),
        box_weight=(weight * positive).astype(head.dtype),
        classes=class_target,
    )


def _claimed_slots(truths, best, first_anchor, shape):
    """The slot that each truth claims: (batch, count) whole numbers; the number behind the last slot for none."""
    xp = array_module(truths)
    batch, rows, columns, count = shape
    column = (truths[..., 0] * columns).astype(int)
    row = (truths[..., 1] * rows).astype(int)
    anchor = best - first_anchor
    picture = xp.arange(batch)[:, None]
    slot = ((picture * rows + row) * columns + column) * count + anchor
    inside = (column >= 0) & (column < columns) & (row >= 0) & (row < rows)
    mine = (truths[..., 2] > 0) & inside & (anchor >= 0) & (anchor < count)
    return xp.where(mine, slot, batch * rows * columns * count)


def _owners(claims, slots):
    """For every slot the number in the batch of the last truth that claims it, -1 for none: (slots,).

    On a GPU nobody knows which of several numbers for one place is written last, so only one of them is written.
    """
    xp = array_module(claims)
    number = xp.arange(claims.size).reshape(claims.shape)  # (batch, count)
    same = claims[:, :, None] == claims[:, None, :]  # (batch, count, count)
    outdone = (same & (number[:, :, None] < number[:, None, :])).any(axis=2)  # a later truth claims the same slot
    owner = xp.full(slots + 1, -1)
    owner[xp.where(outdone, slots, claims).reshape(-1)] = number.reshape(-1)
    return owner[:slots]


def _best_overlap(boxes_cxcywh, truths):
    """Each predicted box's largest IoU with a truth of its picture, and that truth's number in the whole batch.

    boxes_cxcywh (batch, rows, columns, anchors, 4) -> two arrays (batch, rows, columns, anchors).  Some truths at a
    time: all would need (batch, predictions, truths) numbers, gigabytes where pictures hold hundreds of objects.
    """
    xp = array_module(truths)
    batch, count = truths.shape[:2]
    shape = boxes_cxcywh.shape[:-1]
    predicted = cxcywh_to_xyxy(boxes_cxcywh).reshape(batch, -1, 4)
    true = cxcywh_to_xyxy(truths[..., :4])  # (batch, count, 4); padding has no area, so IoU 0
    best = xp.zeros(predicted.shape[:2], predicted.dtype)
    nearest = xp.zeros(predicted.shape[:2], int)
    at_once = max(1, IOUS_AT_ONCE // best.size)
    for first in range(0, count, at_once):
        iou = iou_xyxy(predicted[:, None], true[:, first : first + at_once, None])  # (batch, truths, predictions)
        largest = iou.max(axis=1)
        nearest = xp.where(largest > best, first + iou.argmax(axis=1), nearest)
        best = xp.maximum(largest, best)
    return best.reshape(shape), (nearest + xp.arange(batch)[:, None] * count).reshape(shape)
