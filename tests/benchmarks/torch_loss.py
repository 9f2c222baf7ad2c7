"""The loss of :mod:`yolov3.loss` in PyTorch, written on its own (spec 5.1).

Nothing of our targets is used, so that the two check one another.  The few positive predictions are picked out by
index; only objectness, which every prediction has, is computed for all.
"""

import torch
from torch.nn import functional

LARGEST_EXPONENT = 15.0


def yolo_loss(heads, truths, anchors, strides, ignore_threshold=0.7):
    """The loss of a batch, a tensor without axes.

    heads: logits (batch, rows, columns, anchors * (5 + classes)) per scale, coarse to fine; truths: (batch, count, 5)
    centre x, y, width, height as fractions of the network input, class; width 0 pads; anchors: (anchors, 2) in pixels
    per scale; strides: of the scales.
    """
    batch, rows, columns, _ = heads[0].shape
    net_size = torch.tensor([columns, rows]) * strides[0]
    picture, place = torch.nonzero(truths[..., 2] > 0, as_tuple=True)
    objects = truths[picture, place]  # (objects, 5)
    fine_to_coarse = torch.cat(anchors[::-1]) / net_size
    best = _iou_of_sizes(objects[:, None, 2:4], fine_to_coarse).argmax(dim=1)  # (objects,), into fine_to_coarse
    total, first = 0, len(fine_to_coarse)
    for head, group in zip(heads, anchors, strict=True):
        first -= len(group)
        own = (best >= first) & (best < first + len(group))
        claims = picture[own], best[own] - first, objects[own]
        total = total + _scale_loss(head, group / net_size, claims, truths, ignore_threshold)
    return total / batch


def _scale_loss(head, anchors, claims, truths, ignore_threshold):
    """One head; ``anchors`` as fractions of the network input, ``claims`` (picture, anchor, object) of its truths."""
    batch, rows, columns, _ = head.shape
    logits = head.reshape(batch, rows, columns, len(anchors), -1)
    classes = logits.shape[-1] - 5
    picture, anchor, objects = claims
    position = objects[:, :2] * torch.tensor([columns, rows])
    column, row = position.long().unbind(dim=1)
    claimed = ((picture * rows + row) * columns + column) * len(anchors) + anchor

    # Several truths may claim one prediction: the last gives the box, each its class.
    slots, slot = claimed.unique(return_inverse=True)
    last = torch.zeros_like(slots).scatter_reduce_(0, slot, torch.arange(len(slot)), "amax")
    class_target = torch.zeros(len(slots), classes, dtype=head.dtype)
    class_target[slot, objects[:, 4].long()] = 1
    offset = (position - position.floor())[last]
    size = objects[last, 2:4]
    log_size = torch.log(size / anchors[anchor[last]])
    weight = (2 - size.prod(dim=1))[:, None]

    positive = logits.reshape(-1, 5 + classes)[slots]
    centre = _bce(positive[:, 0:2], offset, weight)
    shape = (weight * (positive[:, 2:4] - log_size) ** 2).sum() / 2
    object_ = _bce(positive[:, 4], torch.ones_like(positive[:, 4]))
    negative = _not_overlapping(logits.detach(), anchors, truths, ignore_threshold)
    negative.view(-1)[slots] = False
    objectness = logits[..., 4]
    no_object = _bce(objectness, torch.zeros_like(objectness), negative.to(head.dtype))
    return centre + shape + object_ + no_object + _bce(positive[:, 5:], class_target)


def _bce(logits, targets, weight=None):
    return functional.binary_cross_entropy_with_logits(logits, targets, weight, reduction="sum")


def _not_overlapping(logits, anchors, truths, ignore_threshold):
    """Whether a predicted box overlaps no truth of its picture by more than the threshold: (batch, rows, ...)."""
    batch, rows, columns, count, _ = logits.shape
    row, column = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    cell = torch.stack([column, row], dim=-1)[:, :, None]  # (rows, columns, 1, 2)
    centre = (cell + torch.sigmoid(logits[..., 0:2])) / torch.tensor([columns, rows])
    half = anchors * torch.exp(logits[..., 2:4].clamp(max=LARGEST_EXPONENT)) / 2
    low, high = ((centre + sign * half).reshape(batch, -1, 1, 2) for sign in (-1, 1))
    true_low, true_high = (
        (truths[..., 0:2] + sign * truths[..., 2:4] / 2).reshape(batch, 1, -1, 2) for sign in (-1, 1)
    )
    intersection = (torch.minimum(high, true_high) - torch.maximum(low, true_low)).clamp(min=0).prod(dim=-1)
    union = (high - low).prod(dim=-1) + (true_high - true_low).prod(dim=-1) - intersection
    best = (intersection / union).amax(dim=2)  # (batch, predictions)
    return (best <= ignore_threshold).reshape(batch, rows, columns, count)


def _iou_of_sizes(a, b):
    """IoU of boxes with a common centre; a (..., 2) and b (..., 2) broadcast."""
    intersection = torch.minimum(a, b).prod(dim=-1)
    return intersection / (a.prod(dim=-1) + b.prod(dim=-1) - intersection)
