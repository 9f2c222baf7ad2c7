"""What the tests of training share: options of a short run, a run that is stopped, and a look at its files."""

import csv
from pathlib import Path

import numpy as np

from minidl.serialize import load
from yolov3.learner import Learner

FILES = ["best.npz", "curves.png", "labels.png", "last.npz", "predictions.png", "results.csv", "train_batch.png"]
SHORT = ("--imgsz", 64, "--epochs", 2, "--batch", 2)  # of the 6 pictures of the VOC folder: 3 steps an epoch


def rows_of(folder):
    """The lines of results.csv without the times."""
    with open(Path(folder) / "results.csv", newline="") as file:
        return [without_times(row) for row in csv.DictReader(file)]


def without_times(row):
    """A row of results.csv without what differs when the same run is done again."""
    return {key: value for key, value in row.items() if key not in ("seconds", "images_per_second")}


def same_arrays(path_a, path_b):
    (arrays_a, _), (arrays_b, _) = load(path_a), load(path_b)
    assert arrays_a.keys() == arrays_b.keys()
    return all(np.array_equal(arrays_a[name], arrays_b[name]) for name in arrays_a)


def stopping_in_epoch(monkeypatch, epoch):
    """Let a person press Ctrl-C in the second of the three steps of ``epoch`` (from 1)."""
    step = Learner.step

    def step_or_stop(self, batch, number):
        if number == (epoch - 1) * 3 + 2:
            raise KeyboardInterrupt
        return step(self, batch, number)

    monkeypatch.setattr(Learner, "step", step_or_stop)
