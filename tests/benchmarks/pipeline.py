"""Where the time of ``yolov3 detect`` and of ``yolov3 train`` goes: beside the network there are files and pictures.

Each is run twice in turn, first with everything one after another, then as it is: what can be done ahead or
afterwards is done in threads.  Run from the project's root: ``python -m tests.benchmarks.pipeline --figure FILE.png``.
"""

import sys
from pathlib import Path

if __package__ in (None, ""):  # run as a file: then Python does not know the project's root
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import tempfile
import time
from contextlib import ExitStack
from functools import partial
from unittest.mock import patch

import numpy as np
from PIL import Image, ImageDraw
from tqdm import tqdm

from minidl import Tensor
from minidl.optim import Adam
from tests.benchmarks.measure import argument_parser, ends_with_a_sentence, positive_integer, start
from tests.benchmarks.peers import fill_with_numbers
from tests.benchmarks.stopwatch import Profile, Stopwatch, figure, table
from yolov3 import detect, learner, train, training_log
from yolov3.checkpoint import Checkpoint, save_checkpoint
from yolov3.data import batches
from yolov3.data.dataset import open_dataset
from yolov3.data.shapes import ShapesDataset
from yolov3.model import PRESETS, FusedDetector, build_model, preset
from yolov3.train_settings import TrainSettings

# What is timed: (its owner, its name, the stage it belongs to).  The time of a stage is without that of stages inside.
NETWORK = ("network",)
DETECTION = [
    (FusedDetector, "forward", "network"),
    (detect, "load_image", "read the file"),
    (detect, "letterbox", "letterbox"),
    (detect, "find_objects", "decode, NMS"),
    (detect, "draw_detections", "draw"),
    (detect, "save_image", "write the file"),
]
STEP = ("forward, loss", "backward", "update")
TRAINING = [
    (learner.Learner, "step", "forward, loss"),
    (Tensor, "backward", "backward"),
    (Adam, "step", "update"),
    (batches.TrainingBatches, "_make_batch", "prepare batches"),
    (learner, "predict", "validate"),
    (train, "evaluate", "validate"),
    (training_log.TrainingLog, "epoch", "curves, checkpoint"),
    (train.TrainingRun, "_save", "curves, checkpoint"),
]
GENERATED = (("train", 64), ("val", 16))  # pictures of each part where no data are given
OBJECTS = 10  # in a picture, about: the threshold is chosen so


def in_turn(make, items):
    """:func:`yolov3.prefetch.prefetch` without a thread."""
    for item in items:
        yield make(item)


def profile(name, core, places, work, threads):
    """The :class:`Profile` of calling ``work()``; with ``threads`` False everything in it goes one after another."""
    stopwatch = Stopwatch()
    with ExitStack() as stack:
        for owner, attribute, stage in places:
            stack.enter_context(patch.object(owner, attribute, stopwatch.timed(stage, getattr(owner, attribute))))
        if not threads:
            stack.enter_context(patch.object(detect, "prefetch", in_turn))
            stack.enter_context(patch.object(batches, "prefetch", in_turn))
        begin = time.perf_counter()
        work()
        wall = time.perf_counter() - begin
    stages = list(dict.fromkeys(stage for _, _, stage in places))
    return Profile(name, core, stages, wall, stopwatch.here, stopwatch.beside)


def compare(name, unit, count, core, places, work, repeat):
    """Two profiles of ``repeat`` rounds each, of ``count`` units a round: one after another, and with threads."""
    work()  # the first time lays out the network and fills caches
    total = {}
    for _ in range(repeat):
        for threads in (False, True):
            new = profile(f"{name}: {unit}", core, places, work, threads).divided_by(count * repeat)
            total[threads] = total[threads] + new if threads in total else new
    return total[False], total[True]


# --- Detection ----------------------------------------------------------------------------------


def make_photographs(folder, count, width=640, height=480):
    """Write JPEG files that compress like photographs: soft colours, a dozen shapes, and noise."""
    for number in range(count):
        rng = np.random.default_rng(number)
        soft = rng.integers(0, 256, (height // 8, width // 8, 3), dtype=np.uint8)
        picture = Image.fromarray(soft).resize((width, height), Image.Resampling.BICUBIC)
        draw = ImageDraw.Draw(picture)
        for index in range(12):
            x, y, side_x, side_y = (int(value) for value in rng.integers((0, 0, 20, 20), (width, height, 200, 200)))
            colour = tuple(int(value) for value in rng.integers(0, 256, 3))
            (draw.rectangle if index % 2 else draw.ellipse)((x, y, x + side_x, y + side_y), fill=colour)
        noisy = np.asarray(picture) + rng.normal(0, 6, (height, width, 3))
        Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8)).save(folder / f"{number:04}.jpg", quality=90)


def random_detector(name, folder):
    """A Detector of a preset whose weights are random numbers of a sensible size."""
    model = build_model(name, seed=0)
    fill_with_numbers(model)
    names = [f"class {number}" for number in range(model.classes)]
    save_checkpoint(folder / "random.npz", Checkpoint(model, name, "concat", names, preset(name)[2], {}, {}))
    return detect.Detector(folder / "random.npz")


def set_confidence(detector, pictures):
    """Choose the threshold, by halving, so that the pictures show about OBJECTS objects each."""
    low, high = 0.0, 1.0
    for _ in range(10):
        detector.confidence = (low + high) / 2
        if np.median([len(detector(picture)) for picture in pictures]) > OBJECTS:
            low = detector.confidence
        else:
            high = detector.confidence


def measure_detection(options, folder):
    """The two profiles of detection in JPEG files, per picture."""
    for name in ("pictures", "found"):
        (folder / name).mkdir()
    make_photographs(folder / "pictures", options.pictures)
    if options.weights:
        detector = detect.Detector(options.weights, model=options.detector)
    else:
        detector = random_detector(options.detector, folder)
    pictures = detect.find_pictures([folder / "pictures"])
    set_confidence(detector, pictures[:3])
    height, width = detector.image_size
    work = partial(detect.detect_files, detector, pictures, folder / "found", report=lambda line: None)
    name = f"detect, {options.detector} {height}x{width}, files of 640x480"
    return compare(name, "milliseconds a picture", len(pictures), NETWORK, DETECTION, work, options.repeat)


# --- Training -----------------------------------------------------------------------------------


def measure_training(options, folder):
    """The two profiles of one epoch of training, with its validation, per step."""
    if options.data:
        parts = [open_dataset(options.data, split) for split in ("train", "val")]
    else:
        parts = [ShapesDataset(split, size=size, image_size=256) for split, size in GENERATED]
    height, width = image_size = preset(options.trained)[2]
    settings = TrainSettings(model=options.trained, image_size=image_size, epochs=1)

    def work():
        run = train.TrainingRun(settings, *parts, {})
        run.run(folder, tqdm(total=run.total_steps, disable=True))

    steps = max(1, len(parts[0]) // settings.batch)
    name = f"train, {options.trained} {height}x{width}, batch {settings.batch}"
    return compare(name, "milliseconds a step", steps, STEP, TRAINING, work, options.repeat)


def main(arguments=None):
    parser = argument_parser(__doc__.split("\n")[0])
    parser.set_defaults(repeat=2)
    parser.add_argument("--pictures", type=positive_integer, default=25, help="files a round (default 25)")
    parser.add_argument("--detector", choices=list(PRESETS), default="yolov3", help="default: yolov3")
    parser.add_argument("--weights", metavar="FILE", help="of the detector (default: random numbers)")
    parser.add_argument("--trained", choices=list(PRESETS), default="yolov3-small", help="default: yolov3-small")
    parser.add_argument("--data", metavar="SOURCE", help="to train on (default: 64 generated pictures)")
    parser.add_argument("--figure", metavar="FILE", help="also draw the shares into this file")
    options = parser.parse_args(arguments)
    with ends_with_a_sentence(), tempfile.TemporaryDirectory() as folder:
        start(options)
        pairs = []
        for measure in (measure_detection, measure_training):
            pairs.append(measure(options, Path(folder)))
            print(f"\n{table(*pairs[-1])}", flush=True)
        if options.figure:
            figure(pairs, options.figure)


if __name__ == "__main__":
    main()
