"""Pictures of errors: one file per kind that occurred, with the boxes in question, whatever the picture's size."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import ImageDraw

from yolov3 import error_pictures
from yolov3.error_pictures import CELL, COLUMNS, LINE_HEIGHT, ROWS, error_grids
from yolov3.errors_by_kind import find_errors
from yolov3.image import load_image
from yolov3.metrics import PictureDetections, PictureTruth

ORANGE, BLUE = (230, 159, 0), (86, 180, 233)  # of classes 0 and 1
GAP = 6


class Pictures:
    """Grey pictures of these sizes (width, height), each with one cat at ``box_xyxy``."""

    names = ("cat", "dog")

    def __init__(self, sizes, box_xyxy, name="photo.jpg"):
        self.sizes = sizes
        self.records = [
            SimpleNamespace(boxes_xyxy=np.array([box_xyxy], np.float32), labels=np.array([0]), picture=Path(name))
            for _ in sizes
        ]
        self.truths = [PictureTruth([box_xyxy], [0]) for _ in sizes]

    def load_image(self, index):
        width, height = self.sizes[index]
        return np.full((height, width, 3), 128, np.uint8)

    def grids(self, folder, found, confidence=0.25):
        error_grids(folder, self, found, find_errors(found, self.truths, 2, confidence), confidence)
        return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def words(monkeypatch):
    """The lines that are written above pictures."""
    written, write = [], ImageDraw.ImageDraw.text

    def text(self, place, words, *arguments, **options):
        written.append(words)
        return write(self, place, words, *arguments, **options)

    monkeypatch.setattr(ImageDraw.ImageDraw, "text", text)
    return written


def found(*rows):
    """From ``(label, score, box)``."""
    return PictureDetections([box for *_, box in rows], [score for _, score, _ in rows], [label for label, *_ in rows])


def has(image, colour):
    return (image == colour).all(axis=2).any()


BOX = (100, 100, 200, 200)


def test_a_file_for_each_kind_that_occurred(tmp_path, words):
    data = Pictures([(640, 480)] * 5, BOX, "a photo.jpg")
    files = data.grids(
        tmp_path,
        [
            found(),
            found((1, 0.9, BOX)),
            found((0, 0.8, (100, 100, 200, 140))),
            found((0, 0.7, BOX), (1, 0.6, (400, 300, 500, 400))),
            found((0, 0.75, BOX), (0, 0.65, (100, 100, 200, 180))),
        ],
    )
    kinds = ("background", "duplicate", "missed", "poor_box", "wrong_class")
    assert files == [f"errors_{kind}.png" for kind in kinds]
    assert {"cat, 100x100 pixels (w x h)", "dog 0.90, truth cat, IoU 1.00", "cat 0.80, IoU 0.40", "dog 0.60"} < {*words}
    assert "cat 0.65, IoU 0.80, again" in words
    assert "a photo.jpg" in words
    assert "missed: 1 of 1, the worst first" in words
    assert "score >= 0.25, right from IoU 0.5; dashed: truth, solid: detection" in words
    background, duplicate, missed, poor, wrong = (load_image(tmp_path / name) for name in files)
    assert missed.shape == (4 * LINE_HEIGHT + CELL + 2 * GAP, CELL + 2 * GAP, 3)
    for image, colours in (
        (missed, []),
        (wrong, [BLUE]),
        (poor, [ORANGE]),
        (background, [BLUE]),
        (duplicate, [ORANGE]),
    ):
        assert [colour for colour in (ORANGE, BLUE) if has(image, colour)] == colours


def test_the_boxes_lie_where_they_should(tmp_path):
    # A window of 1.8 x 100 pixels about the box, at 300 pixels: the box from 40/180 to 140/180 of the cell.
    Pictures([(640, 480)], BOX).grids(tmp_path, [found((1, 0.9, BOX))])
    top, left = 4 * LINE_HEIGHT + GAP, GAP
    image = load_image(tmp_path / "errors_wrong_class.png")[top : top + CELL, left : left + CELL]
    rows, columns = np.nonzero((image == BLUE).all(axis=2)[100:] | (image == 255).all(axis=2)[100:])  # below the tag
    first, last = 300 * 40 / 180, 300 * 140 / 180
    assert columns.min() == pytest.approx(first, abs=2)
    assert columns.max() == pytest.approx(last, abs=2)
    assert rows.max() + 100 == pytest.approx(last, abs=2)


def test_only_a_few_of_many(tmp_path, words):
    count = ROWS * COLUMNS + 3
    Pictures([(64, 64)] * count, (10, 10, 30, 30)).grids(tmp_path, [found()] * count)
    height = 2 * LINE_HEIGHT + GAP + ROWS * (CELL + 2 * LINE_HEIGHT + GAP)
    assert load_image(tmp_path / "errors_missed.png").shape == (height, GAP + COLUMNS * (CELL + GAP), 3)
    assert f"missed: {ROWS * COLUMNS} of {count}, the worst first" in words


def test_nothing_is_written_where_nothing_is_wrong(tmp_path):
    assert Pictures([(640, 480)], BOX).grids(tmp_path, [found((0, 0.9, BOX))]) == []


@pytest.mark.parametrize("size", [(5000, 20), (20, 5000), (1, 1), (3, 700), (6000, 4000)])
def test_pictures_and_boxes_of_any_size(tmp_path, size):
    width, height = size
    for number, box in enumerate(((0, 0, width, height), (width * 0.9, 0, width, height * 0.1))):
        folder = tmp_path / str(number)
        folder.mkdir()
        data = Pictures([size], box)
        assert data.grids(folder, [found()]) == ["errors_missed.png"]
        assert load_image(folder / "errors_missed.png").shape[1] == CELL + 2 * GAP
        assert data.grids(folder, [found((1, 0.9, box))]) == ["errors_missed.png", "errors_wrong_class.png"]


@pytest.mark.parametrize("name", ["été 猫.jpg", "half \udcff.jpg", "two\nlines.jpg", "x" * 300 + ".jpg"])
def test_file_names_of_all_kinds(tmp_path, words, name):
    Pictures([(64, 64)], (10, 10, 30, 30), name).grids(tmp_path, [found()])
    assert not any("\n" in line or "\udcff" in line for line in words)
    assert load_image(tmp_path / "errors_missed.png").shape[1] == CELL + 2 * GAP


def test_a_window_holds_its_boxes_and_lies_inside_the_picture():
    generator = np.random.default_rng(0)
    for _ in range(300):
        width, height = generator.integers(1, 400, 2)
        corners = generator.uniform(0, 1, (2, 2, 2)) * (width, height)  # (boxes, corners, x and y)
        boxes = np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1)
        left, top, right, bottom = error_pictures._window(boxes, width, height)
        assert 0 <= left <= np.floor(boxes[:, 0].min()) + 1
        assert 0 <= top <= np.floor(boxes[:, 1].min()) + 1
        assert np.ceil(boxes[:, 2].max()) - 1 <= right <= width
        assert np.ceil(boxes[:, 3].max()) - 1 <= bottom <= height
        assert right > left
        assert bottom > top
