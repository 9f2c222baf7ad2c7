"""The grid of predictions: what is drawn into it, and that no picture makes it huge."""

from types import SimpleNamespace

import numpy as np
import pytest

from yolov3.data.batches import Batch
from yolov3.draw import class_colour
from yolov3.image import load_image
from yolov3.metrics import PictureDetections
from yolov3.pictures import batch_grid, prediction_grid


class Pictures:
    """A data set of black pictures of these sizes (width, height), with one true box in the upper left quarter."""

    names = ("a", "another one")

    def __init__(self, *sizes, label=0):
        self.sizes = sizes
        self.records = [
            SimpleNamespace(
                width=width,
                boxes_xyxy=np.array([[0, 0, width / 2, height / 2]], np.float32),
                labels=np.array([label]),
            )
            for width, height in sizes
        ]

    def __len__(self):
        return len(self.sizes)

    def load_image(self, index):
        width, height = self.sizes[index]
        return np.zeros((height, width, 3), np.uint8)


def found(*boxes_and_scores):
    boxes_xyxy = [box for *box, _ in boxes_and_scores]
    return PictureDetections(boxes_xyxy, [score for *_, score in boxes_and_scores], [0] * len(boxes_xyxy))


def test_sure_boxes_and_true_ones_are_drawn(tmp_path):
    data = Pictures((400, 300))
    prediction_grid(tmp_path / "nothing.png", data, [found()])
    prediction_grid(tmp_path / "unsure.png", data, [found((200, 150, 390, 290, 0.2))])
    prediction_grid(tmp_path / "sure.png", data, [found((200, 150, 390, 290, 0.3))])
    nothing, unsure, sure = (load_image(tmp_path / f"{name}.png") for name in ("nothing", "unsure", "sure"))
    np.testing.assert_array_equal(nothing, unsure)
    gap = 6
    inside = nothing[gap : gap + 300, gap : gap + 400]
    assert inside[:155, :205].any()  # the true box is drawn, dashed, with its name below
    assert not inside[180:].any()
    assert not inside[:, 210:].any()
    assert (sure != unsure).any(axis=2)[gap + 160 : gap + 290, gap + 210 : gap + 390].any()


def test_the_true_class_is_named_so_that_a_wrong_label_is_seen(tmp_path):
    drawn = []
    for label in (0, 1):
        prediction_grid(tmp_path / "grid.png", Pictures((400, 300), label=label), [found((0, 0, 200, 150, 0.9))])
        drawn.append(load_image(tmp_path / "grid.png"))
    differs = (drawn[0] != drawn[1]).any(axis=2)
    white = [(grid == 255).all(axis=2)[6:-6, 6:-6][155:].sum() for grid in drawn]  # below the box
    assert differs.any()
    assert white[1] > white[0] + 300  # the longer name


@pytest.mark.parametrize(
    ("size", "count", "rows", "columns"), [(300, 15, 3, 4), (640, 15, 3, 3), (300, 5, 2, 4), (640, 2, 1, 2)]
)
def test_three_rows_as_wide_as_a_screen(tmp_path, size, count, rows, columns):
    prediction_grid(tmp_path / "grid.png", Pictures(*[(size, size)] * count), [found()] * count)
    assert load_image(tmp_path / "grid.png").shape == (rows * (size + 6) + 6, columns * (size + 6) + 6, 3)


def test_small_pictures_are_enlarged(tmp_path):
    prediction_grid(tmp_path / "grid.png", Pictures((96, 96)), [found()])
    assert load_image(tmp_path / "grid.png").shape == (3 * 96 + 12, 3 * 96 + 12, 3)


@pytest.mark.parametrize("size", [(4000, 3000), (20000, 10), (10, 20000), (20000, 1), (1, 1), (700, 20)])
def test_a_picture_of_any_size_fits(tmp_path, size):
    width, height = size
    box = (width / 2, height / 2, width, height, 0.9)
    prediction_grid(tmp_path / "grid.png", Pictures(size), [found(box)])
    grid = load_image(tmp_path / "grid.png")
    assert max(grid.shape) <= 660
    # The predicted box is in the lower right quarter still.
    rows, columns = np.nonzero((grid[6:-6, 6:-6] != 0).any(axis=2) & (grid[6:-6, 6:-6] != 255).any(axis=2))
    assert rows.max() >= 0.9 * (grid.shape[0] - 12) - 1
    assert columns.max() >= 0.9 * (grid.shape[1] - 12) - 1


def test_a_batch_shows_its_truths_where_they_are(tmp_path):
    images = np.zeros((2, 300, 400, 3), np.float32)
    images[1] = 1
    truths = np.zeros((2, 3, 5), np.float32)
    truths[0, 0] = 0.5, 0.5, 0.5, 0.4, 2  # x 100 to 300, y 90 to 210
    batch_grid(tmp_path / "batch.png", Batch(images, truths), ["a", "b", "c"])
    grid = load_image(tmp_path / "batch.png")
    assert grid.shape == (312, 6 + 2 * 406, 3)
    first, second = grid[6:306, 6:406], grid[6:306, 412:812]
    assert (second == 255).all()  # no truths, only padding
    box = (first == class_colour(2)).all(axis=2)
    rows, columns = np.nonzero(box[90:])  # below the name
    assert (columns.min(), columns.max()) == (100, 299)
    assert (rows.min(), rows.max()) == (0, 119)
    assert not first[:70].any()
    assert not first[95:205, 105:295].any()  # only an outline


def test_the_name_of_the_class_is_written(tmp_path):
    images, truths = np.zeros((1, 300, 400, 3), np.float32), np.zeros((1, 1, 5), np.float32)
    truths[0, 0] = 0.5, 0.5, 0.5, 0.4, 0
    for name in ("i", "a longer name"):
        batch_grid(tmp_path / f"{len(name)}.png", Batch(images, truths), [name])
    short, long = (load_image(tmp_path / f"{len(name)}.png").any(axis=2).sum() for name in ("i", "a longer name"))
    assert long > short + 500


@pytest.mark.parametrize(("size", "count", "shape"), [(64, 64, (3 * 326 + 6, 4 * 326 + 6)), (1280, 1, (652, 652))])
def test_batches_of_any_size(tmp_path, size, count, shape):
    images, truths = np.zeros((count, size, size, 3), np.float32), np.zeros((count, 1, 5), np.float32)
    batch_grid(tmp_path / "batch.png", Batch(images, truths), ["a"])
    assert load_image(tmp_path / "batch.png").shape[:2] == shape
