"""Boxes in their two formats, and the overlap between them.  No autograd here.

A box's format is part of its variable's name:

- ``boxes_cxcywh``: centre x, centre y, width, height (usually as fractions of the network input);
- ``boxes_xyxy``: left, top, right, bottom (usually in pixels of the picture).

Every function is written with the array's own library, so CuPy arrays work too.
"""

from minidl.device import array_module


def cxcywh_to_xyxy(boxes_cxcywh):
    """Corners of centre-form boxes: ``(..., 4) -> (..., 4)``."""
    xp = array_module(boxes_cxcywh)
    centre, half_size = boxes_cxcywh[..., :2], boxes_cxcywh[..., 2:] / 2
    return xp.concatenate([centre - half_size, centre + half_size], axis=-1)


def xyxy_to_cxcywh(boxes_xyxy):
    """Centre form of corner boxes: ``(..., 4) -> (..., 4)``."""
    xp = array_module(boxes_xyxy)
    top_left, bottom_right = boxes_xyxy[..., :2], boxes_xyxy[..., 2:]
    return xp.concatenate([(top_left + bottom_right) / 2, bottom_right - top_left], axis=-1)


def clip_boxes(boxes_xyxy, width, height):
    """Corner boxes with every corner moved inside ``[0, width] x [0, height]``."""
    xp = array_module(boxes_xyxy)
    limits = xp.asarray([width, height, width, height], dtype=boxes_xyxy.dtype)
    return xp.minimum(xp.maximum(boxes_xyxy, 0), limits)


def box_area(boxes_xyxy):
    """``(right - left) * (bottom - top)``: ``(..., 4) -> (...)``."""
    return (boxes_xyxy[..., 2] - boxes_xyxy[..., 0]) * (boxes_xyxy[..., 3] - boxes_xyxy[..., 1])


def intersection_area(boxes_a_xyxy, boxes_b_xyxy):
    """Area of what two corner boxes share, ``|A n B|``, with broadcasting; 0 where they share nothing.

    ``max(min(right_a, right_b) - max(left_a, left_b), 0)``, and the same downwards: ``(..., 4) -> (...)``.
    """
    xp = array_module(boxes_a_xyxy)
    top_left = xp.maximum(boxes_a_xyxy[..., :2], boxes_b_xyxy[..., :2])
    bottom_right = xp.minimum(boxes_a_xyxy[..., 2:], boxes_b_xyxy[..., 2:])
    shared = xp.maximum(bottom_right - top_left, 0)  # (..., 2): width and height
    return shared[..., 0] * shared[..., 1]


def iou_xyxy(boxes_a_xyxy, boxes_b_xyxy, plus_one=False):
    """Intersection over union of corner boxes, ``|A n B| / |A u B|``, with broadcasting.

    For the full matrix pass ``boxes_a[:, None]`` and ``boxes_b[None, :]``: ``(n, 1, 4)`` and
    ``(1, m, 4)`` give ``(n, m)``.  Touching boxes and boxes without area have IoU 0.

    ``plus_one`` measures sides as Pascal VOC's tools do, ``right - left + 1``, for boxes that name
    their first and last pixel instead of the lines between pixels.
    """
    xp = array_module(boxes_a_xyxy)
    if plus_one:  # from the last pixel to the line behind it
        boxes_a_xyxy = boxes_a_xyxy + xp.asarray([0, 0, 1, 1], dtype=boxes_a_xyxy.dtype)
        boxes_b_xyxy = boxes_b_xyxy + xp.asarray([0, 0, 1, 1], dtype=boxes_b_xyxy.dtype)
    intersection = intersection_area(boxes_a_xyxy, boxes_b_xyxy)
    union = box_area(boxes_a_xyxy) + box_area(boxes_b_xyxy) - intersection
    # Where nothing overlaps the answer is 0 even if both boxes are empty (0 / 0).
    return intersection / xp.where(intersection > 0, union, 1)


def iou_wh(sizes_a, sizes_b):
    """IoU of boxes that share a corner, from their sizes alone, with broadcasting.

    ``min(w_a, w_b) * min(h_a, h_b) / (area_a + area_b - intersection)``; sizes are ``(..., 2)`` as
    ``(width, height)``.  This is the overlap by which anchors are clustered and matched.
    """
    xp = array_module(sizes_a)
    shared = xp.minimum(sizes_a, sizes_b)
    intersection = shared[..., 0] * shared[..., 1]
    union = sizes_a[..., 0] * sizes_a[..., 1] + sizes_b[..., 0] * sizes_b[..., 1] - intersection
    return intersection / xp.where(intersection > 0, union, 1)
