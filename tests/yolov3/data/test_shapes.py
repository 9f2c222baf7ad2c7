"""The generated shapes: the same everywhere, boxes true to the pixel, labels true to the picture."""

import hashlib
import itertools
import math

import numpy as np
import pytest

from yolov3.boxes import box_area
from yolov3.data.shapes import (
    COLOUR_NAMES,
    SHAPE_NAMES,
    PlannedShape,
    ShapesDataset,
    paint_background,
    plan_shapes,
    shape_coverage,
    visible_boxes,
)
from yolov3.errors import UserError


def pixel_is_inside(shape, x, y):
    """Whether the centre of pixel (x, y) lies in the shape: independent of distances and half-planes.

    A polygon is tested by walking around its corners: inside, every one lies to the same side.
    """
    x, y = x + 0.5, y + 0.5
    corners = {"circle": 0, "square": 4, "triangle": 3}[SHAPE_NAMES[shape.kind]]
    if corners == 0:
        return math.hypot(x - shape.centre[0], y - shape.centre[1]) <= shape.radius
    angles = [shape.turn + 2 * math.pi * k / corners for k in range(corners + 1)]
    points = [
        (shape.centre[0] + shape.radius * math.cos(a), shape.centre[1] + shape.radius * math.sin(a)) for a in angles
    ]
    sides = [(bx - ax) * (y - ay) - (by - ay) * (x - ax) for (ax, ay), (bx, by) in itertools.pairwise(points)]
    return min(sides) >= 0


@pytest.mark.parametrize("index", range(25))
def test_boxes_enclose_exactly_the_visible_pixels(index):
    dataset = ShapesDataset("val", image_size=96)
    shapes = plan_shapes(np.random.default_rng([0, 1, index]), 96, overlap=False)
    shown = {}  # which shape each pixel shows: the last one painted over it
    for number, shape in enumerate(shapes):
        shown.update({(x, y): number for x in range(96) for y in range(96) if pixel_is_inside(shape, x, y)})
    for number, box in enumerate(dataset.records[index].boxes_xyxy):
        x, y = zip(*(place for place, owner in shown.items() if owner == number), strict=True)
        assert box.tolist() == [min(x), min(y), max(x) + 1, max(y) + 1]


def test_boxes_agree_with_the_pixels_of_the_finished_picture():
    """Seen from outside only: the shape is what differs strongly from the background painted alone."""
    dataset, checked = ShapesDataset("val"), 0
    for index, record in enumerate(dataset.records):
        rng = np.random.default_rng([0, 1, index])
        shapes = plan_shapes(rng, 96, overlap=False)
        if len(shapes) > 1:
            continue
        background = paint_background(rng, 96)
        # Half-way between background and colour is where a pixel changes hands; the noise adds up to 16.
        way = np.array(shapes[0].colour) - background  # (96, 96, 3)
        covered = ((dataset.load_image(index) - background) * way).sum(axis=2) / (way * way).sum(axis=2)
        surely, perhaps = (np.argwhere(covered > limit)[:, ::-1] for limit in (0.75, 0.25))
        left, top, right, bottom = record.boxes_xyxy[0]
        assert (surely >= (left, top)).all()
        assert (surely < (right, bottom)).all()
        assert (perhaps.min(axis=0) <= (left, top)).all()
        assert (perhaps.max(axis=0) >= (right - 1, bottom - 1)).all()
        checked += 1
    assert checked > 20


def test_coverage_of_a_square_on_the_pixel_grid_is_exact():
    # An upright square of side 4: its edges are at x = 2 and 6 and at y = 3.25 and 7.25.
    square = PlannedShape(1, (4.0, 5.25), 2 * math.sqrt(2), math.pi / 4, (2.0, 3.25, 6.0, 7.25), (0, 0, 0), 0)
    rows, columns, coverage = shape_coverage(square, 16)
    whole = np.zeros((16, 16))
    whole[rows, columns] = coverage
    expected = np.zeros((16, 16))
    expected[3, 2:6], expected[4:7, 2:6], expected[7, 2:6] = 0.75, 1, 0.25
    np.testing.assert_allclose(whole, expected, atol=1e-5)
    assert visible_boxes([square], 16).tolist() == [[2, 3, 6, 7]]


def test_a_later_shape_hides_an_earlier_one():
    lower = PlannedShape(1, (8.0, 8.0), 4 * math.sqrt(2), math.pi / 4, (4.0, 4.0, 12.0, 12.0), (0, 0, 0), 0)
    upper = PlannedShape(1, (12.0, 8.0), 4 * math.sqrt(2), math.pi / 4, (8.0, 4.0, 16.0, 12.0), (0, 0, 0), 0)
    assert visible_boxes([lower, upper], 16).tolist() == [[4, 4, 8, 12], [8, 4, 16, 12]]


def test_area_of_a_circle():
    circle = PlannedShape(0, (20.3, 19.6), 12.5, 0.0, (7.8, 7.1, 32.8, 32.1), (0, 0, 0), 0)
    assert shape_coverage(circle, 40)[2].sum() == pytest.approx(math.pi * 12.5**2, rel=2e-3)


def test_interface_and_sizes():
    train, val = ShapesDataset(), ShapesDataset("val")
    assert (len(train), len(val)) == (2000, 200)
    assert len(train.records) == 2000
    assert list(train.names) == ["circle", "square", "triangle"]
    assert train.report.counts() == {}
    counts = [len(record.labels) for record in train.records]
    assert (min(counts), max(counts)) == (1, 4)
    for record in train.records:
        assert record.boxes_xyxy.dtype == np.float32
        assert record.labels.dtype == np.int64
        assert record.boxes_xyxy.shape == (len(record.labels), 4)
        assert not record.difficult.any()
        assert not record.crowd.any()
        assert (record.width, record.height) == (96, 96)
    boxes_xyxy = np.concatenate([record.boxes_xyxy for record in train.records])
    sides = (boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]) / 96
    assert sides.min() >= 0.12 - 1 / 96  # whole pixels: up to one is lost
    assert sides.max() <= 0.45 + 1 / 96
    assert boxes_xyxy.min() >= 0
    assert boxes_xyxy.max() <= 96
    # Every class makes up about a third.
    share = np.bincount(np.concatenate([record.labels for record in train.records])) / len(boxes_xyxy)
    np.testing.assert_allclose(share, 1 / 3, atol=0.03)


def test_boxes_hardly_overlap():
    for record in ShapesDataset().records:
        boxes_xyxy = record.boxes_xyxy
        for i, a in enumerate(boxes_xyxy):
            for b in boxes_xyxy[i + 1 :]:
                width = max(min(a[2], b[2]) - max(a[0], b[0]), 0)
                height = max(min(a[3], b[3]) - max(a[1], b[1]), 0)
                # A tenth of the smaller box, and what rounding to whole pixels adds.
                assert width * height <= 0.1 * min(box_area(a), box_area(b)) + width + height


def test_a_picture_depends_on_seed_split_and_index_alone():
    first, second = ShapesDataset(size=10), ShapesDataset(size=50)
    np.testing.assert_array_equal(second.load_image(7), first.load_image(7))
    np.testing.assert_array_equal(second.records[7].boxes_xyxy, first.records[7].boxes_xyxy)
    others = [ShapesDataset("val"), ShapesDataset(seed=1)]
    assert all(not np.array_equal(other.load_image(7), first.load_image(7)) for other in others)
    image = first.load_image(3)
    assert image.shape == (96, 96, 3)
    assert image.dtype == np.uint8


def test_no_picture_is_in_both_splits():
    train, val = (
        {hashlib.sha256(dataset.load_image(index).tobytes()).digest() for index in range(200)}
        for dataset in (ShapesDataset(), ShapesDataset("val"))
    )
    assert len(train) == len(val) == 200
    assert not train & val


def test_overlap_gives_every_object_its_shape_and_its_colour():
    dataset, plain = ShapesDataset("val", overlap=True), ShapesDataset("val")
    assert list(dataset.names) == [*SHAPE_NAMES, *COLOUR_NAMES]
    for index in range(40):
        record = dataset.records[index]
        np.testing.assert_array_equal(record.boxes_xyxy[0::2], record.boxes_xyxy[1::2])
        np.testing.assert_array_equal(record.boxes_xyxy[0::2], plain.records[index].boxes_xyxy)
        np.testing.assert_array_equal(record.labels[0::2], plain.records[index].labels)
        image = dataset.load_image(index)
        for box, label in zip(record.boxes_xyxy[1::2], record.labels[1::2], strict=True):
            x, y = ((box[:2] + box[2:]) / 2).astype(int)
            # The middle of the box belongs to the shape; its strongest channel is the colour's name.
            strongest = np.argmax(image[y - 1 : y + 2, x - 1 : x + 2].mean(axis=(0, 1)))
            assert label == len(SHAPE_NAMES) + strongest


def test_shapes_stand_out_from_their_background():
    """The colour in the middle of a shape is far from the colour of the same place without the shape."""
    dataset = ShapesDataset("val")
    for index in range(100):
        rng = np.random.default_rng([0, 1, index])
        plan_shapes(rng, 96, overlap=False)
        background, image = paint_background(rng, 96), dataset.load_image(index).astype(float)
        for box in dataset.records[index].boxes_xyxy:
            x, y = ((box[:2] + box[2:]) / 2).astype(int)
            middle = (slice(y - 1, y + 2), slice(x - 1, x + 2))
            assert np.linalg.norm(image[middle].mean(axis=(0, 1)) - background[middle].mean(axis=(0, 1))) > 50


@pytest.mark.parametrize("image_size", [32, 101, 416])
def test_other_sizes(image_size):
    dataset = ShapesDataset(size=5, image_size=image_size)
    assert dataset.load_image(4).shape == (image_size, image_size, 3)
    sides = [record.boxes_xyxy[:, 2:] - record.boxes_xyxy[:, :2] for record in dataset.records]
    assert np.concatenate(sides).max() <= 0.45 * image_size + 1


@pytest.mark.parametrize("options", [{"split": "test"}, {"size": 0}, {"image_size": 16}, {"seed": -1}])
def test_wrong_options_are_refused(options):
    with pytest.raises(UserError):
        ShapesDataset(**options)


def test_indices_outside_are_refused():
    with pytest.raises(IndexError):
        ShapesDataset(size=3).load_image(3)
