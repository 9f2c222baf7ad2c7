"""Pictures of the worst errors: a grid per kind, truth dashed, prediction solid, and in words what is wrong."""

import numpy as np

from yolov3.draw import draw_boxes, picture_grid, save_image
from yolov3.errors_by_kind import RIGHT_IOU
from yolov3.fonts import text_and_font

ROWS, COLUMNS = 3, 4
CELL = 300  # longest side of a picture in the grid, in pixels
CONTEXT = 1.8  # side of what is shown, over that of the boxes in question
SMALLEST_WINDOW = 48  # pixels of the picture: fewer, and nobody sees what it is
FONT_SIZE, LINE_HEIGHT = 11, 16  # in pixels; 300 of them hold about 50 letters


def error_grids(folder, dataset, detections, errors, confidence):
    """Write ``errors_<kind>.png`` to ``folder`` with the worst errors of each kind that occurred.

    ``errors`` are those of :func:`yolov3.errors_by_kind.find_errors`, at this ``confidence``.  A cell shows the part of
    the picture with the boxes in question, at CELL pixels.  UserError where a file cannot be written.
    """
    for kind, of_this_kind in errors.items():
        worst = of_this_kind[: ROWS * COLUMNS]
        if not worst:
            continue
        cells = [_cell(dataset, detections[error.picture], error) for error in worst]
        grid = picture_grid(cells, COLUMNS)
        title = f"{kind}: {len(worst)} of {len(of_this_kind)}, the worst first"
        thresholds = f"score >= {confidence:g}, right from IoU {RIGHT_IOU:g}; dashed: truth, solid: detection"
        save_image(folder / f"errors_{kind.replace(' ', '_')}.png", _under_lines(grid, [title, thresholds]))


def _cell(dataset, found, error):
    """One error ``(CELL + two lines, CELL, 3)``: the part of the picture, below two lines of words."""
    record, image = dataset.records[error.picture], dataset.load_image(error.picture)
    solid = [number for number in (error.detection, error.surer) if number is not None]
    dashed = [] if error.truth is None else [error.truth]
    boxes_xyxy, truth_boxes_xyxy = found.boxes_xyxy[solid], record.boxes_xyxy[dashed].astype(np.float64)
    left, top, right, bottom = _window(np.concatenate([boxes_xyxy, truth_boxes_xyxy]), *image.shape[1::-1])
    part, scale = _scaled(image[top:bottom, left:right])
    corner = np.array([left, top, left, top])
    drawn = draw_boxes(
        part,
        (boxes_xyxy - corner) * scale,
        found.labels[solid],
        found.scores[solid],
        dataset.names,
        (truth_boxes_xyxy - corner) * scale,
    )
    return _under_lines(_on_a_square(drawn), [_in_words(dataset.names, found, record, error), record.picture.name])


def _in_words(names, found, record, error):
    """What is wrong, such as ``cat 0.93 is a dog: IoU 0.71``."""
    is_there = "" if error.truth is None else names[record.labels[error.truth]]
    if error.detection is None:
        left, top, right, bottom = record.boxes_xyxy[error.truth]
        return f"{is_there}, {right - left:.0f}x{bottom - top:.0f} pixels (w x h)"
    detected = f"{names[found.labels[error.detection]]} {found.scores[error.detection]:.2f}"
    return {
        "wrong class": f"{detected}, truth {is_there}, IoU {error.iou:.2f}",
        "poor box": f"{detected}, IoU {error.iou:.2f}",
        "background": detected,
        "duplicate": f"{detected}, IoU {error.iou:.2f}, again",
    }[error.kind]


def _window(boxes_xyxy, width, height):
    """The part of a picture ``(left, top, right, bottom)`` that shows the boxes ``(n, 4)`` and what is around them."""
    lowest, highest = boxes_xyxy[:, :2].min(axis=0), boxes_xyxy[:, 2:].max(axis=0)
    side = max(CONTEXT * (highest - lowest).max(), SMALLEST_WINDOW)
    size = np.minimum(np.ceil(side), (width, height)).astype(int)
    # Inside the picture: near its border the boxes are not in the middle.
    corner = np.clip(np.round((lowest + highest - size) / 2).astype(int), 0, np.array([width, height]) - size)
    return (*corner, *(corner + size))


def _scaled(image):
    """The picture with its longer side CELL pixels, and the factors (4,) that take its boxes along."""
    from PIL import Image

    height, width = image.shape[:2]
    factor = CELL / max(width, height)
    new_width, new_height = max(1, round(width * factor)), max(1, round(height * factor))
    resample = Image.Resampling.BOX if factor < 1 else Image.Resampling.BICUBIC
    scaled = Image.fromarray(image).resize((new_width, new_height), resample)
    return np.asarray(scaled), np.array([new_width / width, new_height / height] * 2)


def _on_a_square(image):
    """The picture on a light square ``(CELL, CELL, 3)``."""
    square = np.full((CELL, CELL, 3), 235, np.uint8)
    height, width = image.shape[:2]
    top, left = (CELL - height) // 2, (CELL - width) // 2
    square[top : top + height, left : left + width] = image
    return square


def _under_lines(image, lines):
    """The picture below lines of black text on white; what does not fit is cut off."""
    from PIL import Image, ImageDraw

    head = Image.new("RGB", (image.shape[1], LINE_HEIGHT * len(lines)), "white")
    draw = ImageDraw.Draw(head)
    for number, line in enumerate(lines):
        text, font = text_and_font(line, FONT_SIZE)
        draw.text((2, number * LINE_HEIGHT), text, "black", font)
    return np.concatenate([np.asarray(head), image])
