"""A data set that needs no file: circles, squares and triangles, drawn as they are asked for.

Picture i of a split is a function of (seed, split, i) and of nothing else, so training and held-out
pictures are different ones, and the same on every machine.  A picture is made in two steps:

1. *Plan* 1 to 4 shapes: kind, size, turn, place and colour.  From the plan alone the pixels that each
   shape covers follow, and from these its box: the records need no picture to be painted.
2. *Paint* a textured background, the shapes on it, and noise over everything.
"""

import math
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np

from yolov3.boxes import box_area, intersection_area
from yolov3.data.records import Record
from yolov3.data.report import Report
from yolov3.errors import UserError

SHAPE_NAMES = ["circle", "square", "triangle"]
COLOUR_NAMES = ["red", "green", "blue"]
SPLIT_SIZES = {"train": 2000, "val": 200}

SMALLEST_PICTURE = 32  # below it the smallest shapes, 14 % of the side, could not be told apart
MOST_SHAPES = 4
# The longer side of a shape's box, as a fraction of the picture.  The shorter side of a turned
# triangle is up to 13 % less, so all sides lie between 12 % and 45 %.
SIDE_RANGE = (0.14, 0.45)
# Two boxes may share at most this part of the smaller one.  So every shape stays almost wholly in
# sight, and no two true boxes come near the overlaps (IoU 0.45 and more) that non-maximum suppression
# takes for two detections of one object.
LARGEST_SHARED_PART = 0.1
PLACEMENT_TRIES = 20


@dataclass(frozen=True)
class PlannedShape:
    """One shape before it is painted; lengths in pixels, angles in radians.

    ``centre (x, y)`` and ``radius`` are those of the circle itself, or of the circle through the
    corners; ``box_xyxy`` is the box of the ideal outline, before it meets the pixel grid.
    """

    kind: int
    centre: tuple
    radius: float
    turn: float
    box_xyxy: tuple
    colour: tuple
    colour_name: int


class ShapesDataset:
    """Generated pictures ``(image_size, image_size, 3)`` of circles, squares and triangles with their boxes.

    Every picture holds 1 to 4 shapes whose boxes have sides of 12 to 45 % of the picture.  A box is the
    smallest rectangle of whole pixels around the pixels of the shape that are in sight; a pixel belongs
    to a shape when its centre does.

    - ``split``: ``"train"`` (2000 pictures) or ``"val"`` (200, held out); ``size`` asks for another number;
    - ``overlap``: colours are red, green or blue, and every object has two labels, its shape and its
      colour: two rows with the same box, so that a box has several right answers (the notes' H1);
    - ``image_size``: side of the pictures in pixels, at least 32; ``seed``: another seed, other pictures.

    UserError for an unknown split or a number that makes no picture.
    """

    def __init__(self, split="train", size=None, overlap=False, image_size=96, seed=0):
        if split not in SPLIT_SIZES:
            raise UserError(f"the generated shapes have no split {split!r}: choose one of {', '.join(SPLIT_SIZES)}")
        if size is not None and size < 1:
            raise UserError(f"a data set of {size} generated pictures is empty: ask for at least 1")
        if image_size < SMALLEST_PICTURE:
            raise UserError(f"generated pictures of side {image_size} are too small: the least is {SMALLEST_PICTURE}")
        if seed < 0:
            raise UserError(f"the seed {seed} of the generated shapes is negative: choose 0 or more")
        self.split, self.overlap, self.image_size, self.seed = split, overlap, image_size, seed
        self.size = SPLIT_SIZES[split] if size is None else size
        self.names = SHAPE_NAMES + (COLOUR_NAMES if overlap else [])
        self.report = Report()  # stays empty: nothing is wrong with generated labels

    def __len__(self):
        return self.size

    def load_image(self, index):
        """Picture ``index`` as ``(image_size, image_size, 3)`` uint8."""
        rng = self._generator(index)
        return paint_picture(rng, plan_shapes(rng, self.image_size, self.overlap), self.image_size)

    @cached_property
    def records(self):
        """What is in each picture: a list of :class:`Record`, made at first use."""
        return [self._record(index) for index in range(self.size)]

    def _record(self, index):
        shapes = plan_shapes(self._generator(index), self.image_size, self.overlap)
        boxes_xyxy = visible_boxes(shapes, self.image_size)  # (shapes, 4)
        labels = np.array([shape.kind for shape in shapes], dtype=np.int64)
        if self.overlap:
            colours = [len(SHAPE_NAMES) + shape.colour_name for shape in shapes]
            boxes_xyxy = np.repeat(boxes_xyxy, 2, axis=0)
            labels = np.stack([labels, colours], axis=1).reshape(-1)  # shape, colour, shape, colour, ...
        name = f"shapes-{self.split}-{index:05d}"
        nothing_marked = np.zeros(len(labels), dtype=bool)
        return Record(
            picture=Path(f"{name} (generated)"),
            name=name,
            annotation=f"{name} (generated)",
            width=self.image_size,
            height=self.image_size,
            boxes_xyxy=boxes_xyxy,
            labels=labels,
            difficult=nothing_marked,
            crowd=nothing_marked.copy(),
        )

    def _generator(self, index):
        if not 0 <= index < self.size:
            raise IndexError(f"picture {index} of a data set of {self.size}")
        return np.random.default_rng([self.seed, list(SPLIT_SIZES).index(self.split), index])


def plan_shapes(rng, image_size, overlap):
    """1 to 4 :class:`PlannedShape` that keep out of each other's way, the largest first.

    Painted in that order a smaller shape is never hidden behind a larger one.
    """
    shapes = []
    for _ in range(rng.integers(1, MOST_SHAPES + 1)):
        kind = int(rng.integers(len(SHAPE_NAMES)))
        # Uniform in the logarithm: as many shapes between 14 and 25 % of the picture as between 25 and 45 %.
        side = image_size * math.exp(rng.uniform(*np.log(SIDE_RANGE)))
        turn = rng.uniform(0, 2 * math.pi)
        colour, colour_name = _shape_colour(rng, overlap)
        left, top, right, bottom = _unit_extents(kind, turn)
        radius = side / max(right - left, bottom - top)
        width, height = radius * (right - left), radius * (bottom - top)
        size = np.array([width, height])
        corners = rng.random((PLACEMENT_TRIES, 2)) * (image_size - size)  # (tries, 2): left, top
        places_xyxy = np.concatenate([corners, corners + size], axis=1)  # (tries, 4)
        others_xyxy = np.array([other.box_xyxy for other in shapes]).reshape(-1, 4)  # (shapes, 4)
        has_room = (_shared_part(places_xyxy[:, None], others_xyxy) <= LARGEST_SHARED_PART).all(axis=1)  # (tries,)
        if has_room.any():  # a shape that finds no room in all its tries is left out
            x, y, *_ = box_xyxy = tuple(places_xyxy[has_room.argmax()].tolist())
            centre = (x - radius * left, y - radius * top)
            shapes.append(PlannedShape(kind, centre, radius, turn, box_xyxy, colour, colour_name))
    return sorted(shapes, key=lambda shape: -shape.radius)


def shape_coverage(shape, image_size):
    """How much of each pixel the shape covers, 0 to 1, near the shape.

    Returns ``(rows, columns, coverage)``: two slices into the picture and the values there, float32
    ``(height, width)``.  With d the signed distance of a pixel's centre to the outline (negative inside),
    coverage is ``clip(1/2 - d, 0, 1)``, which is exact for an edge along the pixel grid.
    """
    left, top, right, bottom = shape.box_xyxy
    # One pixel more on every side has room for the soft edge.
    columns = slice(max(math.floor(left) - 1, 0), min(math.ceil(right) + 1, image_size))
    rows = slice(max(math.floor(top) - 1, 0), min(math.ceil(bottom) + 1, image_size))
    x = np.arange(columns.start, columns.stop, dtype=np.float32) + np.float32(0.5 - shape.centre[0])  # (width,)
    y = np.arange(rows.start, rows.stop, dtype=np.float32)[:, None] + np.float32(0.5 - shape.centre[1])  # (height, 1)
    corners = _corner_count(shape.kind)
    if corners == 0:
        distance = np.sqrt(x * x + y * y) - np.float32(shape.radius)
    else:
        # Inside a convex polygon the distance to the outline is that to the nearest of its edges' lines.
        normals = [shape.turn + (2 * k + 1) * math.pi / corners for k in range(corners)]
        lines = [x * np.float32(math.cos(angle)) + y * np.float32(math.sin(angle)) for angle in normals]
        distance = np.maximum.reduce(lines) - np.float32(shape.radius * math.cos(math.pi / corners))
    return rows, columns, np.clip(np.float32(0.5) - distance, 0, 1)


def visible_boxes(shapes, image_size):
    """The box around the pixels of each shape that no later shape hides: ``(n, 4)`` float32 ``boxes_xyxy``."""
    owner = np.full((image_size, image_size), -1, dtype=np.int8)  # which shape each pixel shows
    windows = []
    for index, shape in enumerate(shapes):
        rows, columns, coverage = shape_coverage(shape, image_size)
        owner[rows, columns][coverage >= 0.5] = index
        windows.append((rows, columns))
    boxes_xyxy = np.zeros((len(shapes), 4), dtype=np.float32)
    for index, (rows, columns) in enumerate(windows):
        mine = owner[rows, columns] == index  # (height, width) of the window
        x, y = np.flatnonzero(mine.any(axis=0)), np.flatnonzero(mine.any(axis=1))
        # A pixel ends where the next one begins: right and bottom are one past the last pixel.
        boxes_xyxy[index] = (
            columns.start + x[0],
            rows.start + y[0],
            columns.start + x[-1] + 1,
            rows.start + y[-1] + 1,
        )
    return boxes_xyxy


def paint_picture(rng, shapes, image_size):
    """Background, shapes in the given order, noise: ``(image_size, image_size, 3)`` uint8."""
    image = paint_background(rng, image_size)
    for shape in shapes:
        rows, columns, coverage = shape_coverage(shape, image_size)
        window = image[rows, columns]  # (height, width, 3), a view
        window += coverage[:, :, None] * (np.array(shape.colour, dtype=np.float32) - window)
    noise = rng.integers(0, 256, size=image.shape, dtype=np.uint8)
    # Uniform noise of up to +-16 steps of brightness, its strength drawn for each picture.
    image += (noise.astype(np.float32) - 127.5) * np.float32(rng.uniform(0, 16) / 127.5)
    return np.clip(image, 0, 255, out=image).astype(np.uint8)


def paint_background(rng, image_size):
    """A greyish tone with soft blotches and faint stripes: ``(image_size, image_size, 3)`` float32.

    It stays greyish (its colours differ by less than about 100 of 255 between channels) where every
    shape's colour is strong, so a shape can be seen on any background, bright or dark.
    """
    tone = rng.uniform(50, 200) + rng.uniform(-15, 15, size=3)  # (3,)
    weights = _blotch_weights(image_size)  # (image_size, points)
    points = weights.shape[1]
    blotches = (tone + rng.uniform(-30, 30, size=(points, points, 3))).astype(np.float32)
    image = weights @ (weights @ blotches.reshape(points, -1)).reshape(image_size, points, 3)
    angle, waves, phase = rng.uniform((0, 2, 0), (math.pi, 12, 2 * math.pi))  # waves across the picture
    along = np.arange(image_size) * (2 * math.pi * waves / image_size)
    across = (along * math.cos(angle)).astype(np.float32)  # (image_size,)
    down = (along * math.sin(angle) + phase).astype(np.float32)[:, None]  # (image_size, 1)
    stripes = np.sin(across + down)  # (image_size, image_size)
    image += np.float32(rng.uniform(0, 20)) * stripes[:, :, None]
    return image


@lru_cache(maxsize=8)
def _blotch_weights(image_size, points=6):
    """Linear interpolation of a few points to a whole side: ``(image_size, points)``, rows sum to 1."""
    position = np.linspace(0, points - 1, image_size)  # of each pixel, in units of the points' distance
    return np.maximum(1 - np.abs(position[:, None] - np.arange(points)), 0).astype(np.float32)


def _corner_count(kind):
    return {"circle": 0, "square": 4, "triangle": 3}[SHAPE_NAMES[kind]]


def _unit_extents(kind, turn):
    """Left, top, right, bottom of the shape with radius 1 around the origin."""
    corners = _corner_count(kind)
    if corners == 0:
        return -1.0, -1.0, 1.0, 1.0
    angles = [turn + 2 * math.pi * k / corners for k in range(corners)]
    x, y = [math.cos(angle) for angle in angles], [math.sin(angle) for angle in angles]
    return min(x), min(y), max(x), max(y)


def _shared_part(boxes_a_xyxy, boxes_b_xyxy):
    """Intersection of boxes over the area of the smaller one, with broadcasting."""
    smaller = np.minimum(box_area(boxes_a_xyxy), box_area(boxes_b_xyxy))
    return intersection_area(boxes_a_xyxy, boxes_b_xyxy) / smaller


def _shape_colour(rng, overlap):
    """A strong colour ``(red, green, blue)`` and which of the three channels is its strongest.

    One channel is at 200 or more and one at 60 or less.  The third lies anywhere between them, so all
    hues occur; with ``overlap`` it is low as well, so the strongest channel is the colour's name.
    """
    strongest, weakest, between = rng.permutation(3).tolist()
    high, low = rng.uniform(200, 255), rng.uniform(0, 60)
    colour = [0.0, 0.0, 0.0]
    colour[strongest], colour[weakest] = high, low
    colour[between] = rng.uniform(0, 60) if overlap else rng.uniform(low, high)
    return tuple(colour), strongest
