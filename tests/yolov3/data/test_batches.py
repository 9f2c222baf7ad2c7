"""Batches: what they hold, that any of them can be made again, and the thread that prepares them."""

import dataclasses
import threading
from types import SimpleNamespace

import numpy as np
import pytest

from tests.hashing import hash_image
from yolov3.data.augment import NONE, ORIGINAL, RECIPE
from yolov3.data.batches import Batch, TrainingBatches, evaluation_batches, sizes_around
from yolov3.errors import UserError
from yolov3.image import letterbox


class Pictures:
    """A data set of hash pictures: picture i is 40 + i wide and has i boxes of class i."""

    names = ("a",)

    def __init__(self, size, broken=()):
        self.broken = set(broken)
        self.loads = []
        self.records = [self._record(index) for index in range(size)]

    def __len__(self):
        return len(self.records)

    def load_image(self, index):
        self.loads.append(int(index))
        if index in self.broken:
            raise UserError(f"picture-{index}.jpg: this picture cannot be read")
        return hash_image(40 + index, 30, index)

    @staticmethod
    def _record(index):
        corners = np.arange(index, dtype=np.float32)[:, None]
        return SimpleNamespace(
            boxes_xyxy=np.concatenate([corners, corners, corners + 10, corners + 8], axis=1),
            labels=np.full(index, index),
            difficult=np.zeros(index, dtype=bool),
            crowd=np.zeros(index, dtype=bool),
        )


def contents(batches):
    return [(batch.images, batch.truths) for batch in batches]


def assert_same(batches_a, batches_b):
    assert len(batches_a) == len(batches_b)
    for (images_a, truths_a), (images_b, truths_b) in zip(batches_a, batches_b, strict=True):
        np.testing.assert_array_equal(images_a, images_b)
        np.testing.assert_array_equal(truths_a, truths_b)


def class_of(truths):
    """The picture's number, which is the class of its boxes."""
    return int(truths[:, 4].max())


def test_an_epoch_shows_each_picture_at_most_once_in_a_fresh_order():
    batches = TrainingBatches(Pictures(7), (32, 48), 2, NONE, seed=3)
    assert len(batches) == 3
    orders = []
    for epoch in range(4):
        made = list(batches.epoch(epoch))
        assert [type(batch) for batch in made] == [Batch] * 3
        shown = [class_of(truths) for batch in made for truths in batch.truths]
        assert len(set(shown)) == 6
        orders.append(tuple(shown))
    assert len(set(orders)) == 4
    assert {picture for order in orders for picture in order} == set(range(7))


def test_contents_of_a_batch():
    dataset = Pictures(6)
    for batch in TrainingBatches(dataset, (32, 48), 3, NONE, seed=0).epoch(0):
        assert batch.images.shape == (3, 32, 48, 3)
        assert batch.images.dtype == batch.truths.dtype == np.float32
        pictures = [class_of(truths) for truths in batch.truths]
        assert batch.truths.shape == (3, max(pictures), 5)
        for image, truths, picture in zip(batch.images, batch.truths, pictures, strict=True):
            expected, frame = letterbox(hash_image(40 + picture, 30, picture), 48, 32)
            np.testing.assert_array_equal(image, expected)
            boxes_cxcywh = frame.to_network(dataset.records[picture].boxes_xyxy)
            np.testing.assert_allclose(truths[:picture, :4], boxes_cxcywh, atol=1e-6)
            np.testing.assert_array_equal(truths[:picture, 4], picture)
            assert (truths[:picture, 2] > 0).all()
            assert not truths[picture:].any()


def test_more_boxes_than_the_original_takes_are_all_kept():
    batch = next(TrainingBatches(Pictures(1), (32, 32), 1, NONE, seed=0).epoch(0))
    assert batch.truths.shape == (1, 1, 5)  # a picture without boxes still has one, unused, row
    assert not batch.truths.any()
    dataset = Pictures(1)
    dataset.records[0] = Pictures._record(120)
    dataset.records[0].boxes_xyxy[:] = 5, 5, 25, 20
    batch = next(TrainingBatches(dataset, (32, 32), 1, NONE, seed=0).epoch(0))
    assert batch.truths.shape == (1, 120, 5)
    assert (batch.truths[..., 2] > 0).all()


def test_difficult_and_crowd_boxes_are_no_targets():
    dataset = Pictures(1)
    dataset.records[0] = record = Pictures._record(4)
    record.labels = np.arange(4)
    record.difficult[1] = record.crowd[2] = True
    batch = next(TrainingBatches(dataset, (32, 32), 1, NONE, seed=0).epoch(0))
    assert batch.truths[0, :, 4].tolist() == [0, 3]


def test_few_pictures_are_repeated_to_fill_a_batch():
    batches = TrainingBatches(Pictures(3), (32, 32), 8, RECIPE, seed=0)
    assert len(batches) == 1
    (batch,) = batches.epoch(0)
    assert batch.images.shape == (8, 32, 32, 3)
    shown = [class_of(truths) for truths in batch.truths]
    assert sorted(shown.count(picture) for picture in range(3)) == [2, 3, 3]
    alike = [np.array_equal(batch.images[i], batch.images[j]) for i in range(8) for j in range(i)]
    assert not any(alike)  # each repetition is augmented anew


def test_epochs_repeat_exactly_and_depend_on_the_seed():
    first = contents(TrainingBatches(Pictures(5), (32, 48), 2, RECIPE, seed=1).epoch(2))
    again = contents(TrainingBatches(Pictures(5), (32, 48), 2, RECIPE, seed=1).epoch(2))
    other = contents(TrainingBatches(Pictures(5), (32, 48), 2, RECIPE, seed=2).epoch(2))
    assert_same(first, again)
    assert not np.array_equal(first[0][0], other[0][0])


def test_every_place_of_every_step_and_epoch_is_augmented_differently():
    dataset = Pictures(6)
    dataset.load_image = lambda index: hash_image(40, 30, 0)  # one picture under six numbers
    batches = TrainingBatches(dataset, (32, 48), 2, RECIPE, seed=1)
    views = [image.tobytes() for epoch in range(2) for batch in batches.epoch(epoch) for image in batch.images]
    assert len(set(views)) == len(views) == 12


@pytest.mark.parametrize("augmentation", [ORIGINAL, RECIPE])
def test_an_epoch_does_not_depend_on_those_before_it(augmentation):
    batches = TrainingBatches(Pictures(9), (32, 48), 2, augmentation, seed=1)
    whole = [contents(batches.epoch(epoch)) for epoch in range(3)]
    assert_same(whole[2], contents(TrainingBatches(Pictures(9), (32, 48), 2, augmentation, seed=1).epoch(2)))


def test_the_clean_part_is_only_letterboxed():
    size = 32, 48
    clean = contents(TrainingBatches(Pictures(8), size, 2, NONE, seed=1).epoch(0))
    mixed = contents(TrainingBatches(Pictures(8), size, 2, RECIPE, seed=1).epoch(0, clean_from=2))
    augmented = contents(TrainingBatches(Pictures(8), size, 2, RECIPE, seed=1).epoch(0))
    assert_same(mixed[:2], augmented[:2])
    assert_same(mixed[2:], clean[2:])
    assert not np.array_equal(augmented[2][0], clean[2][0])
    assert_same(contents(TrainingBatches(Pictures(8), size, 2, RECIPE, seed=1).epoch(0, clean_from=0)), clean)


def test_decoded_pictures_are_kept_up_to_the_limit():
    dataset = Pictures(4)
    batches = TrainingBatches(dataset, (32, 32), 2, NONE, seed=0)
    first = contents(batches.epoch(0))
    assert_same(first, contents(batches.epoch(0)))
    assert sorted(dataset.loads) == [0, 1, 2, 3]

    dataset = Pictures(4)
    two_pictures = 2 * 43 * 30 * 3
    batches = TrainingBatches(dataset, (32, 32), 2, NONE, seed=0, cache_bytes=two_pictures)
    assert_same(first, contents(batches.epoch(0)))
    assert_same(first, contents(batches.epoch(0)))
    assert len(dataset.loads) == 4 + 2


def preparing_threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith("prefetch")]


def test_the_next_batch_is_prepared_in_one_thread_that_ends_with_the_loop():
    dataset = Pictures(8)
    threads = set()
    load_image = dataset.load_image
    dataset.load_image = lambda index: (threads.add(threading.current_thread()), load_image(index))[1]
    batches = TrainingBatches(dataset, (32, 32), 2, NONE, seed=0)
    for _ in batches.epoch(0):
        assert len(preparing_threads()) == 1
    assert preparing_threads() == []
    assert len(threads) == 1
    assert threading.current_thread() not in threads


def test_no_thread_is_left_when_the_consumer_stops_early():
    batches = TrainingBatches(Pictures(8), (32, 32), 2, NONE, seed=0)
    for _ in batches.epoch(0):
        break
    assert preparing_threads() == []

    def failing_step():
        for _ in batches.epoch(1):
            raise KeyError("a mistake in the training step")

    with pytest.raises(KeyError):
        failing_step()
    assert preparing_threads() == []


def test_a_broken_picture_is_reported_by_name():
    batches = TrainingBatches(Pictures(6, broken=[4]), (32, 32), 2, RECIPE, seed=0)
    with pytest.raises(UserError, match=r"picture-4\.jpg"):
        list(batches.epoch(0))
    assert preparing_threads() == []


def test_an_empty_data_set():
    with pytest.raises(UserError, match="no pictures"):
        TrainingBatches(Pictures(0), (32, 32), 2, NONE, seed=0)
    assert list(evaluation_batches(Pictures(0), (32, 32), 2)) == []


def test_evaluation_batches_show_every_picture_once_in_order():
    made = list(evaluation_batches(Pictures(5), (32, 48), 2))
    for (images, frames), indices in zip(made, ([0, 1], [2, 3], [4]), strict=True):
        assert images.shape == (len(indices), 32, 48, 3)
        assert images.dtype == np.float32
        for image, frame, index in zip(images, frames, indices, strict=True):
            expected, expected_frame = letterbox(hash_image(40 + index, 30, index), 48, 32)
            np.testing.assert_array_equal(image, expected)
            assert dataclasses.astuple(frame) == dataclasses.astuple(expected_frame)


def test_the_next_evaluation_batch_is_prepared_in_a_thread_that_ends_with_the_loop():
    dataset, threads = Pictures(7), set()
    load_image = dataset.load_image
    dataset.load_image = lambda index: (threads.add(threading.current_thread()), load_image(index))[1]
    for _ in evaluation_batches(dataset, (32, 32), 2):
        assert len(preparing_threads()) == 1
        if len(dataset.loads) > 4:
            break
    assert preparing_threads() == []
    assert len(threads) == 1
    assert threading.current_thread() not in threads


def test_a_broken_picture_ends_the_evaluation_by_name():
    with pytest.raises(UserError, match=r"picture-4\.jpg"):
        list(evaluation_batches(Pictures(6, broken=[4]), (32, 32), 2))
    assert preparing_threads() == []


# --- several sizes ------------------------------------------------------------------------------


def test_sizes_of_multi_scale_training():
    wanted = [(side, side) for side in range(320, 609, 32)]
    assert sizes_around((416, 416))[:10] == wanted  # the original's ten
    assert sizes_around((416, 416)) == wanted
    assert sizes_around((192, 256)) == [
        (128, 192),
        (160, 224),
        (192, 256),
        (224, 288),
        (256, 320),
        (256, 352),
        (288, 384),
    ]
    assert sizes_around((256, 192)) == [size[::-1] for size in sizes_around((192, 256))]
    assert sizes_around((32, 32)) == [(32, 32)]


def test_every_ten_batches_have_one_size_and_clean_ones_the_networks_own():
    sizes = [(32, 32), (32, 64), (64, 64), (96, 64)]
    batches = TrainingBatches(Pictures(23), (64, 32), 1, RECIPE, seed=1, sizes=sizes)  # 23 steps an epoch
    shapes = [batch.images.shape[1:3] for epoch in range(4) for batch in batches.epoch(epoch)]
    tens = [shapes[start : start + 10] for start in range(0, len(shapes), 10)]
    assert all(len(set(ten)) == 1 for ten in tens)
    assert {ten[0] for ten in tens} == set(sizes)
    again = [batch.images.shape[1:3] for batch in batches.epoch(2, start=5)]
    assert again == shapes[2 * 23 + 5 : 3 * 23]
    clean = [batch.images.shape[1:3] for batch in batches.epoch(3, clean_from=20)]
    assert clean == [*shapes[3 * 23 : -3], (64, 32), (64, 32), (64, 32)]
