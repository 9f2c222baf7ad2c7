"""Mosaic: one input put together from random parts of four pictures.

A batch then shows four times as many pictures, objects beside neighbours that they never have in the data, and objects
cut off at places where no photographer would: more variety from the same labels.

Source: Bochkovskiy et al. 2020, YOLOv4, section 3.4.  There the four parts may show any scale; here a picture keeps
the scale at which it is seen when the network is used, but for the augmentation's own zoom.
"""

import numpy as np

from yolov3.boxes import cxcywh_to_xyxy, xyxy_to_cxcywh
from yolov3.data.augment import Placement, augment, draw_zoomed_size

MARGIN = 0.3  # the point where the four meet keeps this share of the input's sides away from its borders


def mosaic(pictures, augmentation, rng, net_width, net_height):
    """An input of four parts, and the boxes in it.

    ``pictures``: four ``(image (height, width, 3) uint8, boxes_xyxy (n, 4), labels (n,))``, for the corners top left,
    top right, bottom left and bottom right.  A point is drawn where they meet.  Each picture gets the size that
    ``augmentation`` draws for it in the whole input, of which its corner shows any part; colours and mirroring are
    drawn for each alone.  ``rng``: a numpy Generator, the only source of chance.

    Returns what :func:`yolov3.data.augment.augment` returns: input, boxes_cxcywh (m, 4) in fractions of it, labels.
    """
    cut_x = round(net_width * rng.uniform(MARGIN, 1 - MARGIN))
    cut_y = round(net_height * rng.uniform(MARGIN, 1 - MARGIN))
    corners = [
        (rows, columns) for rows in ((0, cut_y), (cut_y, net_height)) for columns in ((0, cut_x), (cut_x, net_width))
    ]
    canvas = np.empty((net_height, net_width, 3), np.float32)
    whole = np.array([net_width, net_height, net_width, net_height], np.float32)
    all_boxes, all_labels = [], []
    for (image, boxes_xyxy, labels), ((top, bottom), (left, right)) in zip(pictures, corners, strict=True):
        height, width = image.shape[:2]
        part_width, part_height = right - left, bottom - top
        size = draw_zoomed_size(width, height, augmentation, rng, net_width, net_height)
        placement = _any_part(*size, part_width, part_height, rng)
        part, boxes_cxcywh, labels = augment(
            image, boxes_xyxy, labels, augmentation, rng, part_width, part_height, placement
        )
        canvas[top:bottom, left:right] = part
        edges = cxcywh_to_xyxy(boxes_cxcywh) * np.array([part_width, part_height, part_width, part_height])  # (m, 4)
        all_boxes.append((edges + np.array([left, top, left, top])) / whole)
        all_labels.append(labels)
    return canvas, xyxy_to_cxcywh(np.concatenate(all_boxes)).astype(np.float32), np.concatenate(all_labels)


def _any_part(width, height, part_width, part_height, rng):
    """Where a picture of a size is put for a part of it to be seen: it fills the part, if it is large enough."""
    left, top = (rng.uniform(min(0, room), max(0, room)) for room in (part_width - width, part_height - height))
    return Placement(left, top, width, height)
