"""Boxes drawn into pictures, pictures side by side, and pictures written to files.

Nothing is said in colour alone: every box carries its class's name, and true boxes are dashed, with a
bordered tag, where predicted ones are solid.
"""

import zlib
from pathlib import Path

import numpy as np

from yolov3.boxes import intersection_area
from yolov3.errors import UserError
from yolov3.fonts import text_and_font
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


def draw_boxes(
    image, boxes_xyxy, labels, scores=None, names=None, truth_boxes_xyxy=(), truth_labels=None, smallest_side=1
):
    """A copy of a picture with boxes, each with a tag ``name score``: ``(height, width, 3)`` uint8.

    - ``image``: ``(height, width, 3)``, or grey ``(height, width)``, uint8;
    - ``boxes_xyxy (n, 4)`` in pixels of the picture, ``labels (n,)``, ``scores (n,)`` or None for tags
      without; what lies outside the picture is cut off, and a box wholly outside is not drawn;
    - ``names``: the classes' names; None writes their numbers;
    - ``truth_boxes_xyxy (m, 4)``: what is really there, dashed;
    - ``truth_labels (m,)``: its classes, for white tags with the names; None writes none;
    - ``smallest_side``: a picture whose shorter side is below it is first enlarged by the smallest whole
      factor that reaches it, each pixel becoming a square, so that tags can be read.

    Line width and type grow with the picture.  A tag that is larger than the whole picture is left out, and so is a
    truth's where it would hide another tag.
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
    truth_rectangles = [_pixel_rectangle(box * factor, canvas.size) for box in truth_boxes_xyxy]
    for rectangle in filter(None, truth_rectangles):
        _draw_dashed(draw, rectangle, max(1, line_width - 1))
    taken = []
    for index in reversed(visible):  # the surest box has the first choice of a place for its tag
        name = _name(names, labels[index])
        text = name if scores is None else f"{name} {scores[index]:.2f}"
        _draw_tag(draw, rectangles[index], text, class_colour(labels[index]), canvas.size, taken)
    if truth_labels is not None:
        for rectangle, label in zip(truth_rectangles, truth_labels, strict=True):
            if rectangle:
                _draw_truth_tag(draw, rectangle, _name(names, label), canvas.size, taken)
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


def _name(names, label):
    return str(label) if names is None else names[label]


def _draw_tag(draw, rectangle, text, colour, size, taken):
    """Write ``text`` on a filled tag at a corner of the box, inside the picture and clear of the tags in ``taken``.

    Nothing is drawn for an empty text or where the tag is larger than the picture.
    """
    text, font, width, height = _measured(text, size)
    if not text or width > size[0] or height > size[1]:
        return
    _, top, _, bottom = rectangle
    rows = (top - height, top, bottom + 1, bottom + 1 - height)  # above, inside, below, inside at the foot
    tag, _ = _free_place(rectangle, rows, width, height, size, taken)
    taken.append(tag)
    draw.rectangle((tag[0], tag[1], tag[2] - 1, tag[3] - 1), fill=colour)
    # Black or white, whichever differs more in brightness (the weights of ITU-R BT.601).
    brightness = 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2]
    draw.text((tag[0] + 2, tag[1] + 2), text, BLACK if brightness > 110 else WHITE, font, anchor="lt")


def _draw_truth_tag(draw, rectangle, text, size, taken):
    """Write ``text`` in black on white with a border, at the foot of the box first: predictions' tags are above.

    Nothing is drawn for an empty text, or where the tag is larger than the picture or hid one in ``taken``.
    """
    text, font, width, height = _measured(text, size)
    width, height = width + 2, height + 2  # with a border of one pixel
    if not text or width > size[0] or height > size[1]:
        return
    _, top, _, bottom = rectangle
    # Below, inside at the foot, inside, above; and a little further away, beyond a tag that is there already.
    rows = [bottom + 1, bottom + 1 - height, top, top - height]
    for distance in (height // 2, height + 2):
        rows += [bottom + 1 + distance, top - height - distance]
    tag, hidden = _free_place(rectangle, rows, width, height, size, taken)
    if hidden:
        return
    taken.append(tag)
    draw.rectangle((tag[0], tag[1], tag[2] - 1, tag[3] - 1), fill=WHITE, outline=BLACK)
    draw.text((tag[0] + 3, tag[1] + 3), text, BLACK, font, anchor="lt")


def _measured(text, size):
    """The text as it can be drawn into a picture of ``size``, its font, and the width and height of its tag."""
    text, font = text_and_font(text, max(SMALLEST_FONT, round(0.0125 * (size[0] + size[1]))))
    left, top, right, bottom = font.getbbox(text, anchor="lt")
    return text, font, round(right - left) + 4, round(bottom - top) + 4


def _free_place(rectangle, rows, width, height, size, taken):
    """The first place ``(left, top, right, bottom)`` of those that hide the least of other tags, and how much that is.

    ``rows`` are the upper edges to try, each at the left and at the right end of the box; all inside the picture.
    """
    left, _, right, _ = rectangle
    tags = []
    for y in rows:
        for x in (left, right + 1 - width):
            x, top = min(max(x, 0), size[0] - width), min(max(y, 0), size[1] - height)
            tags.append((x, top, x + width, top + height))
    hidden = intersection_area(np.array(tags)[:, None], np.array(taken).reshape(1, -1, 4)).sum(axis=1)  # (places,)
    return tags[hidden.argmin()], hidden.min()
