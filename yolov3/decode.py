"""From the network's numbers to boxes, and no autograd here (notes G1; spec 4).

    bx = (column + sigmoid(tx)) / grid_width        bw = anchor_width  * e^tw / net_width
    by = (row    + sigmoid(ty)) / grid_height       bh = anchor_height * e^th / net_height

Everything is written with the array's own library, so a GPU decodes without waiting for the CPU.
"""

from dataclasses import dataclass

import numpy as np

from minidl.device import array_module
from minidl.ops.activation import stable_sigmoid, stable_softmax
from yolov3.devices import constant

# e^15 times any anchor is larger than any picture, and still far from overflow.
LARGEST_EXPONENT = 15.0


def split_head(head, anchor_count):
    """(batch, rows, columns, anchors * (5 + classes)) -> (batch, rows, columns, anchors, 5 + classes)."""
    return head.reshape(*head.shape[:3], anchor_count, -1)


def cell_corners(head):
    """The (column, row) of every cell of a head: (rows, columns, 1, 2), ready to be added to all anchors' offsets."""
    xp = array_module(head)
    row, column = xp.meshgrid(xp.arange(head.shape[1]), xp.arange(head.shape[2]), indexing="ij")
    return xp.stack([column, row], axis=-1)[:, :, None].astype(head.dtype)


def decode_boxes(head, anchors, stride):
    """The boxes that one head predicts, as fractions of the network input.

    head: logits (batch, rows, columns, anchors * (5 + classes)); anchors: (anchors, 2) in pixels.
    Returns boxes_cxcywh (batch, rows, columns, anchors, 4).
    """
    xp = array_module(head)
    _, rows, columns, _ = head.shape
    logits = split_head(head, len(anchors))
    grid = constant((columns, rows), head)
    centre = (cell_corners(head) + stable_sigmoid(logits[..., 0:2])) / grid
    anchor_fractions = constant(anchors, head) / (grid * stride)  # (anchors, 2)
    size = anchor_fractions * xp.exp(xp.minimum(logits[..., 2:4], LARGEST_EXPONENT))
    return xp.concatenate([centre, size], axis=-1)


@dataclass(frozen=True)
class Predictions:
    """All boxes a batch's heads predict: coarse scale first, then row, column, anchor (10,647 at 416; notes F4).

    boxes_cxcywh (batch, boxes, 4) as fractions of the network input; objectness (batch, boxes);
    class_probabilities (batch, boxes, classes): in YOLOv3 each on its own, not a share of 1 (notes H2).
    """

    boxes_cxcywh: np.ndarray
    objectness: np.ndarray
    class_probabilities: np.ndarray


def decode(heads, anchors, strides, one_class_per_box=False):
    """:class:`Predictions` of all heads; ``anchors`` and ``strides`` as in a DetectionNetwork, one per head.

    ``one_class_per_box``: probabilities are shares of 1 (softmax), as in YOLOv2 (notes H1; spec 3.12).
    """
    xp = array_module(heads[0])
    boxes, objectness, probabilities = [], [], []
    for head, group, stride in zip(heads, anchors, strides, strict=True):
        batch = len(head)
        logits = split_head(head, len(group))
        boxes.append(decode_boxes(head, group, stride).reshape(batch, -1, 4))
        objectness.append(stable_sigmoid(logits[..., 4]).reshape(batch, -1))
        of_classes = stable_softmax(logits[..., 5:]) if one_class_per_box else stable_sigmoid(logits[..., 5:])
        probabilities.append(of_classes.reshape(batch, -1, logits.shape[-1] - 5))
    return Predictions(
        xp.concatenate(boxes, axis=1), xp.concatenate(objectness, axis=1), xp.concatenate(probabilities, axis=1)
    )
