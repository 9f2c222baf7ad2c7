"""What is wrong with a split as a whole, in sentences: for ``yolov3 check-data``, and before a training."""

import os

import numpy as np

from yolov3.wording import share_of, some_of


def split_problems(dataset, split, train_set=None):
    """Sentences about a split that a network cannot learn from or be measured on as it should; none if all is well.

    No box at all; classes without a box (difficult and crowd boxes, which are no targets, count for neither); and,
    for a split other than the training part, other classes than that part, ``train_set``, and pictures that it has.
    """
    lines = [_no_box(dataset, split) if has_no_box(dataset) else _classes_without(dataset, split)]
    if train_set is not None:
        lines += [_other_classes(dataset, split, train_set), _shared_pictures(dataset, split, train_set)]
    return [line for line in lines if line]


def has_no_box(dataset):
    """Whether there is nothing to learn or to find: no box but those marked difficult or crowd."""
    return all((record.difficult | record.crowd).all() for record in dataset.records)


def _no_box(dataset, split):
    marked = " but difficult and crowd ones" if any(len(record.labels) for record in dataset.records) else ""
    return f"no box in {split}{marked}: nothing can be learned or measured with it, so label some objects"


def _classes_without(dataset, split):
    labels = [record.labels[~(record.difficult | record.crowd)] for record in dataset.records]
    present = set(np.concatenate(labels).tolist())
    absent = [name for label, name in enumerate(dataset.names) if label not in present]
    if not absent:
        return None
    if split == "train":
        consequence = "can never be found: label some, or take the name out"
    else:
        consequence = "no mAP counts them: move some pictures there"
    count = share_of(len(absent), len(dataset.names), "class")
    return f"{count} without a box in {split} ({some_of(absent)}): {consequence}"


def _other_classes(dataset, split, train_set):
    own, learned = list(dataset.names), list(train_set.names)
    if own == learned:
        return None
    return f"{split} has the classes {some_of(own)}, train has {some_of(learned)}: give both the same, in one order"


def _shared_pictures(dataset, split, train_set):
    learned = {os.path.realpath(record.picture) for record in train_set.records}
    shared = [record.picture.name for record in dataset.records if os.path.realpath(record.picture) in learned]
    if not shared:
        return None
    count = share_of(len(shared), len(dataset.records), "picture")
    consequence = "its mAP is too high where they were learned by heart: take them out of one of the two"
    return f"{count} of {split} in train, too ({some_of(shared)}): {consequence}"
