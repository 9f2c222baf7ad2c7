"""The loss whose gradient the original program trains with (notes I; spec 5.1).

Summed over the scales, and divided by the batch alone:

    sum over positives  (2 - w h) [BCE(x) + BCE(y) + (t_w - t_w')^2 / 2 + (t_h - t_h')^2 / 2]     coordinates
  + sum over positives  BCE(objectness, 1)                                                        object
  + sum over negatives  BCE(objectness, 0)                                                        no object
  + sum over positives  sum over classes BCE(p, y)                                                classes

The notes draw squared errors for x and y too; the program's gradient ``target - sigmoid(t)`` is that of BCE.
``squared_xy=True`` gives the drawn form ``(sigmoid(t) - target)^2 / 2`` for comparison.
"""

from dataclasses import dataclass

import numpy as np

from minidl import ops
from yolov3.decode import split_head
from yolov3.targets import TargetSettings, best_anchors, scale_targets


@dataclass(frozen=True)
class LossTerms:
    """The loss and its five terms, summed over the scales and divided by the batch (notes I1).

    total is a Tensor; the terms are arrays without axes (they stay where the heads are: on a GPU, reading
    one waits for it).  ``positives``: number of positive predictions per scale, coarse to fine.
    """

    total: object
    centre: np.ndarray
    size: np.ndarray
    object: np.ndarray
    no_object: np.ndarray
    classes: np.ndarray
    positives: tuple

    names = ("centre", "size", "object", "no_object", "classes")


def yolo_loss(heads, truths, anchors, strides, settings=None, squared_xy=False, batch=None):
    """The loss of a batch.

    Parameters
    ----------
    heads: Tensors of logits per scale, coarse to fine, as a DetectionNetwork returns them
    truths: (batch, count, 5): centre x, y, width, height as fractions of the network input, class; width 0 pads
    anchors, strides: of the network
    settings: :class:`yolov3.targets.TargetSettings`
    squared_xy: squared error for x and y as the notes draw it, instead of BCE
    batch: the number of pictures to divide by, where these are a part of the whole batch; default: all there are

    Returns :class:`LossTerms`.
    """
    settings = settings or TargetSettings()
    net_size = (heads[0].shape[2] * strides[0], heads[0].shape[1] * strides[0])  # width, height in pixels
    # All anchors in the original's order, fine to coarse, which decides between equal fits.  The heads come coarse to
    # fine: with three anchors each, those of stride 32 are numbers 6 to 8, of stride 16 3 to 5, of stride 8 0 to 2.
    all_anchors = np.concatenate(anchors[::-1])
    best = best_anchors(truths, all_anchors, net_size)
    terms, positives = [], []
    first_anchor = len(all_anchors)
    for head, group, stride in zip(heads, anchors, strides, strict=True):
        first_anchor -= len(group)
        targets = scale_targets(head.data, truths, group, stride, first_anchor, best, settings)
        terms.append(_scale_terms(head, targets, len(group), squared_xy))
        positives.append(targets.positive.sum())
    batch = batch or len(truths)
    summed = [sum(scale[i] for scale in terms) / batch for i in range(len(LossTerms.names))]
    total = sum(summed)
    return LossTerms(total, *(term.data for term in summed), positives=tuple(positives))


def _scale_terms(head, targets, anchor_count, squared_xy):
    """The five terms of one scale, as Tensors: centre, size, object, no object, classes."""
    logits = split_head(head, anchor_count)
    weight = targets.box_weight[..., None]
    if squared_xy:
        centre = ops.squared_error(ops.sigmoid(logits[..., 0:2]), targets.offset, weight)
    else:
        centre = ops.bce_with_logits(logits[..., 0:2], targets.offset, weight)
    size = ops.squared_error(logits[..., 2:4], targets.log_size, weight)
    objectness = logits[..., 4]
    object_ = ops.bce_with_logits(objectness, targets.objectness, targets.positive)
    no_object = ops.bce_with_logits(objectness, targets.objectness, targets.negative)
    classes = ops.bce_with_logits(logits[..., 5:], targets.classes, targets.positive[..., None])
    return centre, size, object_, no_object, classes
