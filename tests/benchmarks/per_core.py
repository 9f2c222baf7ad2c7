"""What one core must do for a training on COCO, however many GPUs there are: prepare pictures, and score a validation.

Run from the project's root: ``python -m tests.benchmarks.per_core``; about half a minute.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

if __package__ in (None, ""):  # run as a file: then Python does not know the project's root
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np

from minidl import one_blas_thread
from tests.benchmarks.machine import busy_warning, header
from tests.benchmarks.measure import positive_integer
from tests.benchmarks.pipeline import make_photographs
from yolov3.coco_metrics import coco_average_precision
from yolov3.data.augment import ORIGINAL, RECIPE, augment
from yolov3.image import load_image
from yolov3.metrics import PictureDetections, PictureTruth

SIDE, CLASSES = 416, 80
OBJECTS, FOUND = 7, 100  # in a picture, as in COCO's val2017; the most detections that COCO counts


def prepare(path, augmentation, seed):
    """Seconds to decode a picture and to make one view of it for the network."""
    boxes_xyxy, labels = np.tile(np.float32([100, 100, 300, 200]), (OBJECTS, 1)), np.zeros(OBJECTS, int)
    begin = time.perf_counter()
    augment(load_image(path), boxes_xyxy, labels, augmentation, np.random.default_rng(seed), SIDE, SIDE)
    return time.perf_counter() - begin


def validation(pictures):
    """Detections and truths of so many pictures: of each object one good find, and others anywhere."""
    rng, found, truths = np.random.default_rng(0), [], []
    for _ in range(pictures):
        corners, sizes = rng.uniform(0, 400, (FOUND, 2)), rng.uniform(10, 200, (FOUND, 2))
        boxes_xyxy, labels = np.hstack([corners, corners + sizes]), rng.integers(CLASSES, size=FOUND)
        truths.append(PictureTruth(boxes_xyxy[:OBJECTS] + rng.normal(0, 3, (OBJECTS, 4)), labels[:OBJECTS]))
        found.append(PictureDetections(boxes_xyxy, rng.random(FOUND), labels))
    return found, truths


def main(arguments=None):
    """Print both."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--photographs", type=positive_integer, default=40, help="to prepare (default 40)")
    parser.add_argument("--pictures", type=positive_integer, default=5000, help="to score (default 5000, as val2017)")
    options = parser.parse_args(arguments)
    warning = busy_warning()
    print(header(), *([warning] if warning else []), sep="\n")
    with tempfile.TemporaryDirectory() as folder, one_blas_thread:
        make_photographs(Path(folder), options.photographs)
        for name, augmentation in (("recipe", RECIPE), ("original", ORIGINAL)):
            seconds = [prepare(path, augmentation, seed) for seed, path in enumerate(sorted(Path(folder).iterdir()))]
            print(f"a 640x480 JPEG for {SIDE}x{SIDE}, augmentation {name}: {1000 * median(seconds):.1f} ms")
    found, truths = validation(options.pictures)
    begin = time.perf_counter()
    coco_average_precision(found, truths, CLASSES)
    print(f"COCO's AP of {options.pictures} pictures, {FOUND} detections each: {time.perf_counter() - begin:.1f} s")


if __name__ == "__main__":
    main()
