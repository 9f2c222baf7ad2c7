"""Mosaics: what is where, that boxes stay on their objects, and that the rest of the run can be made again."""

import numpy as np
import pytest

from yolov3.data.augment import MOSAIC, NONE, Augmentation
from yolov3.data.batches import TrainingBatches
from yolov3.data.mosaic import MARGIN, mosaic
from yolov3.data.shapes import ShapesDataset

HEIGHT, WIDTH = 64, 96


def plain(value, boxes=()):
    """A picture of the input's size in one grey, with boxes of class ``value``."""
    image = np.full((HEIGHT, WIDTH, 3), value, np.uint8)
    return image, np.array(boxes, np.float32).reshape(-1, 4), np.full(len(boxes), value)


def test_four_pictures_meet_at_a_point():
    greys = (10, 20, 30, 40)
    for seed in range(20):
        canvas, boxes, labels = mosaic(
            [plain(grey) for grey in greys], NONE, np.random.default_rng(seed), WIDTH, HEIGHT
        )
        assert canvas.shape == (HEIGHT, WIDTH, 3)
        assert canvas.dtype == np.float32
        assert boxes.shape == (0, 4)
        assert labels.shape == (0,)
        shown = np.round(canvas[..., 0] * 255).astype(int)
        across, down = (shown[0] == 10).sum(), (shown[:, 0] == 10).sum()
        wanted = np.full((HEIGHT, WIDTH), 40)
        wanted[:down, :across], wanted[:down, across:], wanted[down:, :across] = 10, 20, 30
        np.testing.assert_array_equal(shown, wanted)
        assert (across + 0.5) / WIDTH >= MARGIN
        assert (across - 0.5) / WIDTH <= 1 - MARGIN
        assert (down + 0.5) / HEIGHT >= MARGIN
        assert (down - 0.5) / HEIGHT <= 1 - MARGIN


@pytest.mark.parametrize(
    "augmentation", [NONE, MOSAIC, Augmentation(zoom=1.5, horizontal_flip=1)], ids=["none", "mosaic", "flip"]
)
def test_boxes_stay_on_their_objects(augmentation):
    """Each picture has one bright square on black; wherever a box lies in the mosaic, brightness fills it."""
    pictures = []
    for k in range(4):
        image, left, top = np.zeros((60, 80, 3), np.uint8), 10 + 12 * k, 8 + 9 * k
        image[top : top + 20, left : left + 20] = 250
        pictures.append((image, np.array([[left, top, left + 20, top + 20]], np.float32), np.array([k])))
    seen = 0
    for seed in range(30):
        canvas, boxes, labels = mosaic(pictures, augmentation, np.random.default_rng(seed), WIDTH, HEIGHT)
        covered = np.zeros((HEIGHT, WIDTH), bool)
        for x, y, w, h in boxes * np.array([WIDTH, HEIGHT, WIDTH, HEIGHT]):
            inside = np.s_[
                round(y - h / 2 + 1.5) : round(y + h / 2 - 1.5), round(x - w / 2 + 1.5) : round(x + w / 2 - 1.5)
            ]
            assert (canvas[inside] > 0.5).all()
            covered[
                max(0, int(y - h / 2 - 1)) : int(y + h / 2 + 2), max(0, int(x - w / 2 - 1)) : int(x + w / 2 + 2)
            ] = True
        # What is bright outside of all boxes are the slivers of objects of which less than a quarter is to be seen.
        assert ((canvas.min(axis=2) > 0.9) & ~covered).sum() <= (4 - len(boxes)) * 0.3 * 27 * 27 * 1.5**2
        assert len(set(labels.tolist())) == len(labels)
        seen += len(labels)
    assert seen > 30


def test_a_part_is_filled_where_the_picture_is_large_enough():
    canvas, _, _ = mosaic([plain(0)] * 4, NONE, np.random.default_rng(0), WIDTH, HEIGHT)
    assert (canvas == 0).all()  # no grey border


def test_a_small_picture_is_surrounded_by_grey():
    tall = np.zeros((640, 64, 3), np.uint8)  # letterboxed it is 6 pixels wide
    four = [(tall, np.zeros((0, 4), np.float32), np.zeros(0, int))] * 4
    canvas, _, _ = mosaic(four, NONE, np.random.default_rng(0), WIDTH, HEIGHT)
    black = (canvas[0, :, 0] == 0).sum()
    assert 2 * 5 <= black <= 2 * 8
    assert set(np.unique(canvas)) == {0.0, 0.5}


def test_batches_with_mosaics_can_be_made_again():
    dataset = ShapesDataset("train", size=12)
    batches = TrainingBatches(dataset, (HEIGHT, WIDTH), 4, MOSAIC, seed=7)
    whole = list(batches.epoch(1))
    again = list(TrainingBatches(dataset, (HEIGHT, WIDTH), 4, MOSAIC, seed=7).epoch(1, start=1))
    for one, other in zip(whole[1:], again, strict=True):
        np.testing.assert_array_equal(one.images, other.images)
        np.testing.assert_array_equal(one.truths, other.truths)
    plain_batches = list(TrainingBatches(dataset, (HEIGHT, WIDTH), 4, NONE, seed=7).epoch(1))
    assert any(one.truths.shape != other.truths.shape for one, other in zip(whole, plain_batches, strict=True))
