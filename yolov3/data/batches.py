"""Batches: several pictures of a data set with their boxes, stacked into the arrays a training step takes.

A data set is anything with ``len()``, ``load_image(i)`` (a uint8 picture) and ``records[i]`` (its boxes).
"""

import math
import time
from dataclasses import dataclass

import numpy as np

from yolov3.data.augment import NONE, augment
from yolov3.data.mosaic import mosaic
from yolov3.errors import UserError
from yolov3.image import letterbox
from yolov3.prefetch import prefetch

SAME_SIZE = 10  # batches in a row that have one size in multi-scale training, as in the original (spec 6)
SMALLEST, LARGEST = 3 / 4, 3 / 2  # sizes of multi-scale training, as shares of the network's own; 320 to 608 for 416


@dataclass(frozen=True)
class Batch:
    """What one training step sees.

    - ``images`` (batch, height, width, 3) float32 in [0, 1];
    - ``truths`` (batch, max_truths, 5) float32, a row a box: centre x, centre y, width, height as fractions
      of the network input, and the class.  max_truths is the most boxes of any picture here, at least
      1; rows that are left over are zero, so a row is in use exactly where its width is above 0.
    """

    images: np.ndarray
    truths: np.ndarray


def sizes_around(image_size):
    """The sizes of multi-scale training, small to large: from 3/4 to 3/2 of a size, in steps of 32 pixels.

    ``image_size`` (height, width), multiples of 32.  The longer side goes through all multiples of 32, the other
    follows in proportion, rounded to such a multiple.  (YOLO9000, section 2, "Multi-Scale Training".)
    """
    longer, shorter = max(image_size) // 32, min(image_size) // 32
    sizes = []
    for side in range(max(1, math.ceil(SMALLEST * longer)), math.floor(LARGEST * longer) + 1):
        other = max(1, round(side * shorter / longer))
        sizes.append((32 * other, 32 * side) if image_size[0] < image_size[1] else (32 * side, 32 * other))
    return sizes


class TrainingBatches:
    """The batches of a training run, epoch by epoch; any of them can be made again exactly.

    - ``image_size``: (height, width) of the network input; ``augmentation`` as in yolov3.data.augment.
    - An epoch shows the pictures in a fresh order, each at most once: the ``len(dataset) % batch_size``
      last ones of the order are left out.  Fewer pictures than ``batch_size`` are repeated to fill
      the one batch.
    - ``sizes``: of which every ten batches get one, drawn at random (multi-scale training), such as
      :func:`sizes_around` gives; default ``image_size`` alone.
    - ``share``: (rank, size) of a process that prepares only its part of each batch, one of ``size`` equal ones.
    - Boxes marked difficult or crowd are no targets (the original leaves out difficult ones too).
    - Decoded pictures are kept in memory until they take ``cache_bytes`` (default 1 GiB); the rest are
      read again in every epoch.

    Raises UserError for an empty data set, for a batch that cannot be divided so, or a picture file that turns out to
    be broken.
    """

    def __init__(
        self, dataset, image_size, batch_size, augmentation, seed, sizes=None, share=(0, 1), cache_bytes=2**30
    ):
        if len(dataset) == 0:
            raise UserError("the data set has no pictures to train on; check its folders with yolov3 check-data")
        rank, size = share
        if batch_size % size:
            fitting = max(each for each in range(1, size) if batch_size % each == 0)
            raise UserError(
                f"a batch of {batch_size} pictures cannot be divided evenly among {size} processes: start {fitting}, "
                f"or a new run with --batch {max(1, batch_size // size) * size}"
            )
        self.dataset = dataset
        self.image_size = image_size
        self.batch_size = batch_size
        self.augmentation = augmentation
        self.seed = seed
        part = batch_size // size
        self._places = range(rank * part, (rank + 1) * part)  # in each batch
        self.sizes = sizes or [image_size]
        self._cache = {}  # picture index -> (height, width, 3) uint8
        self._cache_room = cache_bytes

    def __len__(self):
        """Batches (training steps) in an epoch, at least 1."""
        return max(1, len(self.dataset) // self.batch_size)

    def epoch(self, epoch, start=0, clean_from=None):
        """Yield the batches of one epoch, from step ``start`` (from 0) on.

        From step ``clean_from`` of this epoch on pictures are only letterboxed, at ``image_size`` (None: never).
        Chance depends on (seed, epoch, step, place in the batch) alone, so a run that was interrupted goes
        on with any step as if it had not been.  The next batch is prepared meanwhile, in a thread
        (:func:`yolov3.prefetch.prefetch`).
        """
        order = self._order(epoch)

        def make(step):
            indices = {place: order[step * self.batch_size + place] for place in self._places}
            if clean_from is not None and step >= clean_from:
                return self._make_batch(epoch, step, indices, NONE, self.image_size)
            return self._make_batch(epoch, step, indices, self.augmentation, self._size(epoch, step))

        yield from prefetch(make, range(start, len(self)))

    def _order(self, epoch):
        """The picture indices of an epoch, one batch after another."""
        # The fifth number sets this stream apart: missing numbers count as 0, so (seed, epoch) would be
        # the very stream of the first picture of the first step.
        rng = np.random.default_rng((self.seed, epoch, 0, 0, 1))
        wanted = len(self) * self.batch_size
        rounds = -(-wanted // len(self.dataset))
        return np.concatenate([rng.permutation(len(self.dataset)) for _ in range(rounds)])[:wanted]

    def _size(self, epoch, step):
        """The (height, width) of a batch."""
        tens = (epoch * len(self) + step) // SAME_SIZE
        rng = np.random.default_rng((self.seed, tens, 0, 0, 2))  # a stream of its own, as in _order
        return self.sizes[rng.integers(len(self.sizes))]

    def _make_batch(self, epoch, step, indices, augmentation, size):
        """The pictures ``{place in the batch: index}``."""
        height, width = size
        images = np.empty((len(indices), height, width, 3), dtype=np.float32)
        truths = []
        for k, (place, index) in enumerate(indices.items()):
            rng = np.random.default_rng((self.seed, epoch, step, place))
            if augmentation.mosaic and rng.random() < augmentation.mosaic:
                four = [index, *rng.integers(len(self.dataset), size=3)]
                view = mosaic([self._labelled(each) for each in four], augmentation, rng, width, height)
            else:
                view = augment(*self._labelled(index), augmentation, rng, width, height)
            images[k], boxes_cxcywh, labels = view
            truths.append(np.column_stack([boxes_cxcywh, labels]))  # (boxes of this picture, 5)
        return Batch(images, _stack_truths(truths))

    def _labelled(self, index):
        """A picture, and the boxes_xyxy (n, 4) and labels (n,) of its targets."""
        record = self.dataset.records[index]
        target = ~(record.crowd | record.difficult)  # (n,) bool
        return self._load_image(index), record.boxes_xyxy[target], record.labels[target]

    def _load_image(self, index):
        image = self._cache.get(index)
        if image is None:
            image = self.dataset.load_image(index)
            if image.nbytes <= self._cache_room:
                self._cache[index] = image
                self._cache_room -= image.nbytes
        return image


def _stack_truths(truths):
    """Lists of boxes of different lengths, each (n, 5), as one array (batch, max(1, longest n), 5), rest 0."""
    stacked = np.zeros((len(truths), max(1, *map(len, truths)), 5), dtype=np.float32)
    for rows, own in zip(stacked, truths, strict=True):
        rows[: len(own)] = own
    return stacked


def evaluation_batches(dataset, image_size, batch_size, prepared=None, pictures=None):
    """Yield every picture of a data set once, in order, letterboxed: ``(images, frames)``.

    ``images`` (batch, height, width, 3) float32, the last batch maybe smaller; ``frames`` a list of the
    pictures' :class:`yolov3.image.Letterbox`.  The next batch is prepared meanwhile, in a thread.
    ``prepared`` is called there with the seconds that each batch took and its number of pictures.
    ``pictures``: a range of those to yield, instead of all.
    """
    height, width = image_size
    pictures = range(len(dataset)) if pictures is None else pictures

    def make(start):
        begin = time.perf_counter()
        indices = pictures[start : start + batch_size]
        inputs, frames = zip(*(letterbox(dataset.load_image(index), width, height) for index in indices), strict=True)
        images = np.stack(inputs)
        if prepared is not None:
            prepared(time.perf_counter() - begin, len(frames))
        return images, list(frames)

    yield from prefetch(make, range(0, len(pictures), batch_size))
