"""Boxes drawn into pictures, pictures side by side, and pictures written to files.

Nothing is said in colour alone: every predicted box carries its class's name, and true boxes are
dashed where predicted ones are solid.
"""

import zlib
from functools import lru_cache
from pathlib import Path

import numpy as np

from yolov3.boxes import intersection_area
from yolov3.errors import UserError
from yolov3.runs import write_file

# Okabe and Ito, "Color Universal Design" (2008): eight colours that people with any kind of colour
# vision can tell apart, here without black and with the strongest first.
OKABE_ITO = (
    (230, 159, 0),  # orange
    (86, 180, 233),  # sky blue
    (0, 158, 115),  # bluish green
    (240, 228, 66),  # yellow
    (213, 94, 0),  # vermilion
    (204, 121, 167),  # reddish purple
    (0, 114, 178),  # blue
)
BLACK, WHITE = (0, 0, 0), (255, 255, 255)
# The smallest type that can still be read, in pixels.
SMALLEST_FONT = 11


def class_colour(label):
    """The colour ``(red, green, blue)`` of class ``label``: Okabe and Ito's seven, then lighter and darker ones.

    Classes 7 to 13 take the seven mixed half with white, 14 to 20 half with black, and so on again.
    """
    cycle, index = divmod(int(label), len(OKABE_ITO))
    colour = OKABE_ITO[index]
    toward = (None, WHITE, BLACK)[cycle % 3]
    return colour if toward is None else tuple((a + b) // 2 for a, b in zip(colour, toward, strict=True))


def draw_boxes(image, boxes_xyxy, labels, scores=None, names=None, truth_boxes_xyxy=(), smallest_side=1):
    """A copy of a picture with boxes, each with a tag ``name score``: ``(height, width, 3)`` uint8.

    - ``image``: ``(height, width, 3)``, or grey ``(height, width)``, uint8;
    - ``boxes_xyxy (n, 4)`` in pixels of the picture, ``labels (n,)``, ``scores (n,)`` or None for tags
      without; what lies outside the picture is cut off, and a box wholly outside is not drawn;
    - ``names``: the classes' names; None writes their numbers;
    - ``truth_boxes_xyxy (m, 4)``: what is really there, dashed and without a tag;
    - ``smallest_side``: a picture whose shorter side is below it is first enlarged by the smallest whole
      factor that reaches it, each pixel becoming a square, so that tags can be read.

    Line width and type grow with the picture.  A tag that is larger than the whole picture is left out.
    ValueError for boxes that are not finite.
    """
    from PIL import Image, ImageDraw

    boxes_xyxy, truth_boxes_xyxy = _checked_boxes(boxes_xyxy), _checked_boxes(truth_boxes_xyxy)
    image = np.stack([image] * 3, axis=2) if image.ndim == 2 else image
    factor = max(1, -(-smallest_side // min(image.shape[:2])))  # the quotient rounded up
    enlarged = image if factor == 1 else np.repeat(np.repeat(image, factor, axis=0), factor, axis=1)
    canvas = Image.fromarray(enlarged)
    draw = ImageDraw.Draw(canvas)
    line_width = max(1, round(0.003 * (canvas.width + canvas.height)))
    # The surest box is drawn last: where boxes overlap it is the one to be seen whole.
    order = range(len(boxes_xyxy)) if scores is None else np.argsort(np.asarray(scores), kind="stable")
    rectangles = [_pixel_rectangle(box * factor, canvas.size) for box in boxes_xyxy]
    visible = [index for index in order if rectangles[index] is not None]
    for index in visible:
        draw.rectangle(rectangles[index], outline=class_colour(labels[index]), width=line_width)
    for box in truth_boxes_xyxy:
        if rectangle := _pixel_rectangle(box * factor, canvas.size):
            _draw_dashed(draw, rectangle, max(1, line_width - 1))
    taken = []
    for index in reversed(visible):  # the surest box has the first choice of a place for its tag
        name = str(labels[index]) if names is None else " ".join(names[labels[index]].split())  # in one line
        text = name if scores is None else f"{name} {scores[index]:.2f}"
        _draw_tag(draw, rectangles[index], text, class_colour(labels[index]), canvas.size, taken)
    return np.asarray(canvas).copy()


def picture_grid(images, columns, gap=6):
    """Pictures side by side on white, row by row: ``(height, width, 3)`` uint8.

    Each of ``images`` is ``(height, width, 3)`` uint8 of any size and is centred in a cell that holds the
    largest; ``columns`` says how many stand in a row, ``gap`` is the white around them in pixels.
    ValueError without pictures or columns.
    """
    from PIL import Image

    if not images or columns < 1:
        raise ValueError(f"a grid of {len(images)} pictures in {columns} columns: give at least one of each")
    cell_width = max(image.shape[1] for image in images) + gap
    cell_height = max(image.shape[0] for image in images) + gap
    columns, rows = min(columns, len(images)), -(-len(images) // columns)
    canvas = Image.new("RGB", (columns * cell_width + gap, rows * cell_height + gap), WHITE)
    for index, image in enumerate(images):
        left, top = gap + index % columns * cell_width, gap + index // columns * cell_height
        height, width = image.shape[:2]
        place = (left + (cell_width - gap - width) // 2, top + (cell_height - gap - height) // 2)
        canvas.paste(Image.fromarray(image), place)
    return np.asarray(canvas).copy()


def save_image(path, image):
    """Write ``(height, width, 3)`` uint8 to a file whose ending says the format (``.png``, ``.jpg``, ...).

    The file appears whole or not at all.  UserError for an unknown ending or a place that cannot be written.
    """
    from PIL import Image

    path = Path(path)
    file_format = Image.registered_extensions().get(path.suffix.lower())
    if file_format not in Image.SAVE:
        raise UserError(f"{path}: pictures cannot be written as {path.suffix!r}: use .png or .jpg")
    # A PNG in a third of the time: else Pillow searches for repetitions, which photographs hardly have.
    options = {"compress_level": 1, "compress_type": zlib.Z_RLE} if file_format == "PNG" else {}
    write_file(path, lambda file: Image.fromarray(image).save(file, format=file_format, **options))


def _checked_boxes(boxes_xyxy):
    boxes_xyxy = np.asarray(boxes_xyxy, dtype=np.float64).reshape(-1, 4)
    if not np.isfinite(boxes_xyxy).all():
        raise ValueError("boxes to draw must be finite")
    return boxes_xyxy


def _pixel_rectangle(box_xyxy, size):
    """First and last pixel ``(left, top, right, bottom)`` of a box inside the picture; None if it lies outside."""
    width, height = size
    left, top, right, bottom = box_xyxy
    if right < 0 or bottom < 0 or left > width or top > height:
        return None
    left, top = min(max(round(left), 0), width - 1), min(max(round(top), 0), height - 1)
    # A box ends where the next pixel begins, and even a box without area shows one pixel.
    return left, top, max(min(round(right), width) - 1, left), max(min(round(bottom), height) - 1, top)


def _draw_dashed(draw, rectangle, line_width):
    """A dashed outline, white with black sides, so that it is seen on any picture and over any box."""
    left, top, right, bottom = rectangle
    dash, period = 4 * line_width + 1, 8 * line_width + 4  # in pixels, without the black ends
    for start_x in range(left, right + 1, period):
        end_x = min(start_x + dash - 1, right)
        for y in (top, bottom):
            _draw_dash(draw, (start_x, y, end_x, y), line_width)
    for start_y in range(top, bottom + 1, period):
        end_y = min(start_y + dash - 1, bottom)
        for x in (left, right):
            _draw_dash(draw, (x, start_y, x, end_y), line_width)


def _draw_dash(draw, line, line_width):
    left, top, right, bottom = line
    before, after = (line_width - 1) // 2, line_width // 2
    draw.rectangle((left - before - 1, top - before - 1, right + after + 1, bottom + after + 1), fill=BLACK)
    draw.rectangle((left - before, top - before, right + after, bottom + after), fill=WHITE)


def _draw_tag(draw, rectangle, text, colour, size, taken):
    """Write ``text`` on a filled tag at a corner of the box, inside the picture and clear of the tags in ``taken``.

    Nothing is drawn for an empty text or where the tag is larger than the picture.
    """
    font = _font(max(SMALLEST_FONT, round(0.0125 * (size[0] + size[1]))))
    text_width, text_height = _text_size(text, font)
    width, height = text_width + 4, text_height + 4
    if not text or width > size[0] or height > size[1]:
        return
    left, top, right, bottom = rectangle
    places = [
        (x, y)
        for y in (top - height, top, bottom + 1, bottom + 1 - height)  # above, inside, below, inside at the foot
        for x in (left, right + 1 - width)
    ]
    tags = []
    for x, y in places:
        x, y = min(max(x, 0), size[0] - width), min(max(y, 0), size[1] - height)
        tags.append((x, y, x + width, y + height))
    # The first place among those that hide the least of other tags.
    hidden = intersection_area(np.array(tags)[:, None], np.array(taken).reshape(1, -1, 4))  # (places, tags)
    tag = tags[hidden.sum(axis=1).argmin()]
    taken.append(tag)
    draw.rectangle((tag[0], tag[1], tag[2] - 1, tag[3] - 1), fill=colour)
    # Black or white, whichever differs more in brightness (the weights of ITU-R BT.601).
    brightness = 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2]
    draw.text((tag[0] + 2, tag[1] + 2), text, BLACK if brightness > 110 else WHITE, font, anchor="lt")


@lru_cache(maxsize=16)
def _font(size):
    from PIL import ImageFont

    return ImageFont.load_default(size)  # the typeface that comes with Pillow, so every machine draws the same


def _text_size(text, font):
    left, top, right, bottom = font.getbbox(text, anchor="lt")
    return round(right - left), round(bottom - top)
