"""Augmentation: each time a picture is shown in training, it is placed, coloured and mirrored anew.

The boxes follow the pixels.  All geometry here is one thing, a placement: the rectangle of the
network's input onto which the whole picture is mapped.  The original's placement always shows the
whole picture; the zoomed one may push parts of it over the border.
"""

import math
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from yolov3.boxes import clip_boxes, cxcywh_to_xyxy, xyxy_to_cxcywh
from yolov3.errors import UserError
from yolov3.image import CACHED_VALUES, GREY, Letterbox, letterbox, sample_bilinear, white_level

# A box narrower or lower than this fraction of the input is no target (the original's limit).
SMALLEST_SIDE = 0.001
# A box of which less than this share is still visible is no target: from so little even a person
# could seldom name the object, so it would teach the network to guess.
SMALLEST_VISIBLE_SHARE = 0.25


@dataclass(frozen=True)
class Augmentation:
    """How strongly pictures are varied.  The defaults vary nothing.

    - ``horizontal_flip``, ``vertical_flip``: probability in [0, 1] of mirroring left-right, top-bottom.
    - ``hue``: shift of the hue, uniform in [-hue, hue], in turns of the colour circle.
    - ``saturation``, ``exposure``: the HSV saturation and value are multiplied or divided (evenly
      likely) by a factor uniform in [1, strength].
    - ``zoom``: the letterboxed picture is enlarged or shrunk by a factor up to this, drawn likewise.
    - ``aspect``: its width-to-height ratio is multiplied or divided by a factor up to 1 + aspect.
    - ``shift``: it is moved by up to this fraction of the input's width and height.
    - ``jitter``: the original's placement instead: width and height each vary by up to this share, and
      the largest rectangle of their ratio lies anywhere inside the input.
    - ``mosaic``: probability that the input is put together from parts of four pictures
      (:func:`yolov3.data.mosaic.mosaic`), each varied as above but for shift.

    Raises UserError for a value out of range, and for jitter together with zoom, aspect or shift.
    """

    horizontal_flip: float = 0.0
    vertical_flip: float = 0.0
    hue: float = 0.0
    saturation: float = 1.0
    exposure: float = 1.0
    zoom: float = 1.0
    aspect: float = 0.0
    shift: float = 0.0
    jitter: float = 0.0
    mosaic: float = 0.0

    def __post_init__(self):
        for name, value in vars(self).items():
            low = 1 if name in ("saturation", "exposure", "zoom") else 0
            high = math.inf if low == 1 or name == "aspect" else 1
            if not (low <= value <= high and math.isfinite(value)):
                raise UserError(f"augmentation {name}={value}: give a finite number from {low} to {high}")
        if self.jitter and (self.moves or self.mosaic):
            raise UserError(
                "augmentation: jitter is a placement of its own; with it set zoom=1, aspect=0, shift=0 and mosaic=0"
            )

    @property
    def moves(self):
        """Whether the picture leaves the letterbox's place by zoom, aspect or shift."""
        return self.zoom != 1 or self.aspect != 0 or self.shift != 0

    @property
    def colours(self):
        """Whether colours change."""
        return self.hue != 0 or self.saturation != 1 or self.exposure != 1


NONE = Augmentation()
# The original's settings for COCO and VOC.
ORIGINAL = Augmentation(horizontal_flip=0.5, hue=0.1, saturation=1.5, exposure=1.5, jitter=0.3)
# For a few hundred photographs without a right way up, such as blood cells under a microscope.
RECIPE = Augmentation(
    horizontal_flip=0.5, vertical_flip=0.5, hue=0.05, saturation=1.25, exposure=1.25, zoom=1.25, aspect=0.2, shift=0.1
)
# The same, and every second input a mosaic.
MOSAIC = replace(RECIPE, mosaic=0.5)


class Placement(NamedTuple):
    """The rectangle onto which the whole picture is mapped, in (fractional) pixels of the network input."""

    left: float
    top: float
    width: float
    height: float


def augment(image, boxes_xyxy, labels, augmentation, rng, net_width, net_height, placement=None):
    """One varied view of a picture, as the network wants it, and the boxes in it.

    ``image`` (height, width, 3) uint8; ``boxes_xyxy`` (n, 4) in pixels of the picture; ``labels`` (n,);
    ``rng`` a numpy Generator, the only source of chance.  Returns the input (net_height, net_width, 3)
    float32 in [0, 1], ``boxes_cxcywh`` (m, 4) float32 in fractions of it, and the m labels of the
    boxes that are left: at least a quarter of their area visible and no side below 0.001.
    ``placement``: a :class:`Placement` to use; by default one is drawn as ``augmentation`` says.

    With :data:`NONE` the input is exactly that of :func:`yolov3.image.letterbox`.  Colours are varied
    after placing, so the grey border varies with them, as in the original.
    """
    height, width = image.shape[:2]
    if placement is None and augmentation.moves:
        placement = _draw_zoomed_placement(width, height, augmentation, rng, net_width, net_height)
    if placement is not None:
        canvas = place_anywhere(image, placement, net_width, net_height)
    elif augmentation.jitter:
        placement = _draw_jittered_placement(width, height, augmentation.jitter, rng, net_width, net_height)
        canvas = _grey_canvas(net_width, net_height)
        left, top, new_width, new_height = (int(value) for value in placement)
        place_image(canvas, image, left, top, max(1, new_width), max(1, new_height))
    else:
        canvas, frame = letterbox(image, net_width, net_height)
        placement = _letterbox_placement(frame)

    if augmentation.colours:
        hue = rng.uniform(-augmentation.hue, augmentation.hue)
        saturation = _draw_factor(augmentation.saturation, rng)
        canvas = distort_colours(canvas, hue, saturation, _draw_factor(augmentation.exposure, rng))
    flip_horizontally = rng.random() < augmentation.horizontal_flip
    flip_vertically = rng.random() < augmentation.vertical_flip
    canvas = canvas[:: -1 if flip_vertically else 1, :: -1 if flip_horizontally else 1]

    fractions = xyxy_to_cxcywh(boxes_xyxy / np.array([width, height, width, height], dtype=np.float32))  # (n, 4)
    dx, dy = -placement.left / net_width, -placement.top / net_height
    sx, sy = placement.width / net_width, placement.height / net_height
    placed = correct_boxes(fractions, dx, dy, sx, sy, flip_horizontally, flip_vertically)  # (n, 4)
    visible = placed[:, 2] * placed[:, 3] >= SMALLEST_VISIBLE_SHARE * fractions[:, 2] * fractions[:, 3] * sx * sy
    kept = visible & (placed[:, 2:] >= SMALLEST_SIDE).all(axis=1)
    return np.ascontiguousarray(canvas), placed[kept].astype(np.float32), labels[kept]


def _grey_canvas(net_width, net_height):
    return np.full((net_height, net_width, 3), GREY, dtype=np.float32)


def _draw_factor(strength, rng):
    """A factor uniform in [1, strength], or one over it, evenly likely."""
    factor = rng.uniform(1, strength)
    return factor if rng.random() < 0.5 else 1 / factor


# --- Placements ---------------------------------------------------------------------------------


def _letterbox_placement(frame):
    left, top = (frame.net_width - frame.new_width) / 2, (frame.net_height - frame.new_height) / 2
    return Placement(left, top, frame.new_width, frame.new_height)


def _draw_jittered_placement(width, height, jitter, rng, net_width, net_height):
    """The original's: a jittered ratio, the largest rectangle of that ratio, anywhere inside the input.

    The original takes the largest rectangle of a square input and, where the input is not square,
    loses what sticks out; here it is the largest that the input holds.
    """
    ratio = (width + rng.uniform(-jitter, jitter) * width) / (height + rng.uniform(-jitter, jitter) * height)
    new_width = min(net_width, net_height * ratio)
    new_height = min(net_height, new_width / ratio)
    left, top = rng.uniform(0, net_width - new_width), rng.uniform(0, net_height - new_height)
    return Placement(left, top, new_width, new_height)


def _draw_zoomed_placement(width, height, augmentation, rng, net_width, net_height):
    """The letterbox's rectangle, scaled, stretched and moved about its centre."""
    new_width, new_height = draw_zoomed_size(width, height, augmentation, rng, net_width, net_height)
    centre_x = net_width * (0.5 + rng.uniform(-augmentation.shift, augmentation.shift))
    centre_y = net_height * (0.5 + rng.uniform(-augmentation.shift, augmentation.shift))
    return Placement(centre_x - new_width / 2, centre_y - new_height / 2, new_width, new_height)


def draw_zoomed_size(width, height, augmentation, rng, net_width, net_height):
    """A picture's (width, height) in the network's input: the letterbox's, zoomed and stretched; at least 1 pixel."""
    frame = Letterbox.fit(width, height, net_width, net_height)
    zoom = _draw_factor(augmentation.zoom, rng)
    stretch = math.sqrt(_draw_factor(1 + augmentation.aspect, rng))  # one side by it, the other by one over it
    return max(1.0, frame.new_width * zoom * stretch), max(1.0, frame.new_height * zoom / stretch)


# --- Pixels -------------------------------------------------------------------------------------


def place_image(canvas, image, left, top, width, height):
    """Draw a picture into a canvas, in place, as the original does when it trains.

    Pixel (x, y) of the ``width`` x ``height`` target, x from 0, takes the source position
    ``(x / width * source_width, y / height * source_height)``; beyond the source's last pixel the
    interpolation meets 0, so the right and bottom edges may darken.  This is not the letterbox's formula.

    ``canvas`` (net_height, net_width, 3) float32 must hold the target, whose corner, width and height
    are whole; ``image`` (source_height, source_width, 3) uint8 (divided by 255) or float32 in [0, 1].
    """
    source_height, source_width = image.shape[:2]
    with_border = np.zeros((source_height + 1, source_width + 1, 3), dtype=image.dtype)
    with_border[:-1, :-1] = image
    columns = np.arange(width, dtype=np.float32) / np.float32(width) * np.float32(source_width)
    rows = np.arange(height, dtype=np.float32) / np.float32(height) * np.float32(source_height)
    values = sample_bilinear(with_border, columns, rows)  # (height, width, 3)
    canvas[top : top + height, left : left + width] = values / white_level(image)


def place_anywhere(image, placement, net_width, net_height):
    """The network's input (net_height, net_width, 3) float32 with a picture at any placement, grey around it.

    Pixels are sampled as by the letterbox (corners aligned), so that training and detection see
    pictures alike; the rectangle may lie between pixels and reach over the border.
    """
    source_height, source_width = image.shape[:2]
    left, right, columns = _covered(placement.left, placement.width, source_width, net_width)
    top, bottom, rows = _covered(placement.top, placement.height, source_height, net_height)
    canvas = _grey_canvas(net_width, net_height)
    canvas[top:bottom, left:right] = sample_bilinear(image, columns, rows) / white_level(image)
    return canvas


def _covered(start, size, source_size, net_size):
    """The input pixels first..last whose centres lie in [start, start + size], and their source positions."""
    first = min(max(math.ceil(start - 0.5), 0), net_size)
    last = max(min(math.floor(start + size + 0.5), net_size), first)
    scale = (source_size - 1) / (size - 1) if size > 1 else 0.0
    positions = np.clip((np.arange(first, last) - start) * scale, 0, source_size - 1)  # (last - first,)
    return first, last, positions.astype(np.float32)


def distort_colours(image, hue, saturation, exposure):
    """Shift the hue (in turns), and multiply the saturation and the value, in HSV.

    With V = max(R, G, B), chroma C = V - min(R, G, B), S = C / V and the hue H in [0, 6): V' = V * exposure,
    C' = V' * S * saturation = C * saturation * exposure (so no division by V), H' = H + 6 * hue around the
    circle.  A colour channel is then V' - C' * (1 - k) with k in [0, 1] given by H' alone: k is 1 within
    one sixth of the channel's own hue (R 0, G 2, B 4) and falls to 0 over the next.  Results are
    clipped to [0, 1].  Grey has no hue and keeps none.

    ``image`` (..., 3) float32 in [0, 1]; returns the same shape and type.
    """
    pixels = image.reshape(-1, 3)
    distorted = np.empty_like(pixels)
    pixels_per_band = CACHED_VALUES // 3
    for start in range(0, len(pixels), pixels_per_band):
        band = slice(start, start + pixels_per_band)
        _distort_band(pixels[band], hue, saturation, exposure, out=distorted[band])
    return distorted.reshape(image.shape)


def _distort_band(pixels, hue, saturation, exposure, out):
    red, green, blue = np.ascontiguousarray(pixels.T)  # each (n,)
    value = np.maximum(np.maximum(red, green), blue)
    chroma = value - np.minimum(np.minimum(red, green), blue)
    divisor = np.where(chroma > 0, chroma, 1)
    sixths = np.where(
        value == red,
        (green - blue) / divisor,
        np.where(value == green, 2 + (blue - red) / divisor, 4 + (red - green) / divisor),
    )
    sixths += 6 * hue
    sixths -= 6 * np.floor(sixths / 6)  # into [0, 6)

    value *= exposure
    chroma *= saturation * exposure
    nearness = (np.abs(sixths - 3) - 1, 2 - np.abs(sixths - 2), 2 - np.abs(sixths - 4))
    for channel, near in enumerate(nearness):
        out[:, channel] = np.clip(value - chroma * (1 - np.clip(near, 0, 1)), 0, 1)


# --- Boxes --------------------------------------------------------------------------------------


def correct_boxes(boxes_cxcywh, dx, dy, sx, sy, flip_horizontally=False, flip_vertically=False):
    """Boxes of a picture after it was placed and mirrored, clipped to the input.

    ``left' = left * sx - dx`` and so on for all four edges, then mirrored, then clipped to [0, 1].  With a
    placement: sx = width / net_width and dx = -left / net_width; sy and dy likewise.

    ``boxes_cxcywh`` (n, 4) in fractions of the picture; returns (n, 4) in fractions of the input.  A box
    that is wholly outside comes out with a side of 0.  (The original's mark for labels without a box,
    a centre at exactly (0, 0), has no meaning here.)
    """
    edges = cxcywh_to_xyxy(boxes_cxcywh) * np.array([sx, sy, sx, sy]) - np.array([dx, dy, dx, dy])  # (n, 4)
    if flip_horizontally:
        edges[:, [0, 2]] = 1 - edges[:, [2, 0]]
    if flip_vertically:
        edges[:, [1, 3]] = 1 - edges[:, [3, 1]]
    return xyxy_to_cxcywh(clip_boxes(edges, 1, 1))
