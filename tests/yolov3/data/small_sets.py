"""Small data sets made by hand, to be converted."""

import numpy as np
from PIL import Image

from yolov3.data.dataset import open_dataset, splits_of
from yolov3.data.records import Record

NAMES = ["white cell", "Zelle Ü 猫"]


def record(picture, size=(40, 20), boxes_xyxy=(), labels=(), difficult=(), crowd=(), areas=None):
    """A Record and its picture on the disk; ``difficult`` and ``crowd`` are indices of boxes."""
    picture.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", size).save(picture)
    index = np.arange(len(labels))
    return Record(
        picture=picture,
        name=picture.stem,
        annotation="somewhere",
        width=size[0],
        height=size[1],
        boxes_xyxy=np.array(boxes_xyxy, np.float32).reshape(-1, 4),
        labels=np.array(labels, np.int64),
        difficult=np.isin(index, difficult),
        crowd=np.isin(index, crowd),
        areas=None if areas is None else np.array(areas, np.float64),
    )


def reopened(folder):
    return {split: open_dataset(folder, split, strict=True) for split in splits_of(folder)}
