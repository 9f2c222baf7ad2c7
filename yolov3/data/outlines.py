"""Outlines of objects (polygons, COCO's run-length masks) and the boxes around them, all that is trained on."""

from reprlib import repr as short_repr

import numpy as np

from yolov3.errors import UserError

POLYGON_NUMBERS = 6  # three corners are the fewest that enclose something


def box_around(xs, ys):
    """The smallest box around points: ``(left, top, right, bottom)`` in their units; NaN where a number is NaN."""
    xs, ys = np.asarray(xs, np.float64), np.asarray(ys, np.float64)
    return tuple(float(side) for side in (xs.min(), ys.min(), xs.max(), ys.max()))


def segmentation_box(segmentation):
    """The box in pixels around a COCO ``segmentation``: a list of polygons, or a run-length mask.

    Polygons are lists ``[x1, y1, x2, y2, ...]``; a mask is ``{"size": [height, width], "counts": ...}``, see
    :func:`mask_box`.  Raises ``UserError`` (which does not name the file) for anything else.
    """
    if isinstance(segmentation, dict):
        return mask_box(segmentation)
    if not isinstance(segmentation, list) or not segmentation:
        raise UserError("has neither a bbox [left, top, width, height] nor an outline; give it a bbox or remove it")
    for polygon in segmentation:
        whole = isinstance(polygon, list) and len(polygon) >= POLYGON_NUMBERS and len(polygon) % 2 == 0
        if not whole or not all(_is_number(number) for number in polygon):
            raise UserError(f"a polygon is x, y of three or more corners, not {short_repr(polygon)}; correct it")
    try:
        return box_around(
            [x for polygon in segmentation for x in polygon[0::2]],
            [y for polygon in segmentation for y in polygon[1::2]],
        )
    except OverflowError:  # a whole number of 400 digits
        raise UserError("a corner of its polygon is no number that fits a picture; correct it") from None


def mask_box(mask):
    """The box in pixels around a run-length mask, without building the mask: a forged size costs no memory.

    ``counts`` are the lengths of runs, outside and inside in turn, through the columns of the picture from left to
    right, each from top to bottom; as a list, or as text, see :func:`unpack_counts`.
    """
    size, counts = mask.get("size"), mask.get("counts")
    if not (isinstance(size, list) and len(size) == 2 and all(_is_whole(side) and 0 < side < 2**24 for side in size)):
        raise UserError(f"its mask needs a size [height, width] in pixels, not {short_repr(size)}; correct it")
    if isinstance(counts, str):
        counts = unpack_counts(counts)
    height, width = size
    if not isinstance(counts, list) or not all(_is_whole(count) and 0 <= count <= height * width for count in counts):
        raise UserError(f"the counts of its mask must be lengths of runs in {width}x{height} pixels; correct them")
    if sum(counts) != height * width:
        raise UserError(f"the runs of its mask cover {sum(counts)} pixels of {width}x{height}; correct them")
    counts = np.array(counts, np.int64)  # (runs,)
    ends = counts.cumsum()  # (runs,): the first pixel after each run
    inside = slice(1, None, 2)  # runs 1, 3, 5, ...
    filled = counts[inside] > 0
    last = ends[inside][filled] - 1  # (filled runs,): pixels counted down the columns
    first = last + 1 - counts[inside][filled]
    if not len(first):
        raise UserError("its mask holds no pixel; give it a bbox or remove it")
    left, right = first // height, last // height
    tall = (left != right).any()  # a run that goes on in the next column touches the lower and the upper border
    top, bottom = (0, height - 1) if tall else ((first % height).min(), (last % height).max())
    return float(left.min()), float(top), float(right.max() + 1), float(bottom + 1)


def unpack_counts(text):
    """The run lengths in the text form of COCO's masks.

    Each number is written in groups of five bits, the lowest first, one character ``48 + group`` each; 32 is added
    where more groups follow, and bit 16 of the last is the sign.  From the fourth number on (index 3), what is
    written is the difference from the number two places before.
    """
    counts, value, shift = [], 0, 0
    for character in text:
        group = ord(character) - 48
        if not 0 <= group < 64 or shift > 40:
            raise UserError("the counts of its mask are not written as COCO writes them; correct them")
        value |= (group & 31) << shift
        shift += 5
        if group & 32:
            continue
        if group & 16:
            value -= 1 << shift
        counts.append(value + counts[-2] if len(counts) > 2 else value)
        value, shift = 0, 0
    if shift:
        raise UserError("the counts of its mask end in the middle of a number; correct them")
    return counts


def _is_number(value):
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_whole(value):
    return isinstance(value, int) and not isinstance(value, bool)
