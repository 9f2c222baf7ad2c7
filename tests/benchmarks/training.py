"""Seconds of one training step, batch 8: this project against PyTorch.

A step is forward, loss with its targets, backward and Adam's update, on generated pictures that are already in memory.
Run from the project's root: ``python -m tests.benchmarks.training --repeat 20 --json FILE``.
"""

import sys
from pathlib import Path

if __package__ in (None, ""):  # run as a file: then Python does not know the project's root
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from minidl.nn import layer_table
from tests.benchmarks.measure import Case, argument_parser, interleave, run
from tests.benchmarks.peers import check_gradients, check_losses, training_programs
from yolov3.data.augment import NONE
from yolov3.data.batches import TrainingBatches
from yolov3.data.shapes import ShapesDataset
from yolov3.model import build_model

BATCH = 8
# name -> (preset, (height, width)); the first is what `yolov3 demo` trains
CASES = {
    "train-yolov3-nano-96x96": ("yolov3-nano", (96, 96)),
    "train-yolov3-nano-192x256": ("yolov3-nano", (192, 256)),
    "train-yolov3-small-256x320": ("yolov3-small", (256, 320)),
}


def shapes_batch(image_size):
    """A batch of generated pictures, and the number of their classes."""
    dataset = ShapesDataset("train", size=BATCH, image_size=min(image_size))
    (batch,) = TrainingBatches(dataset, image_size, BATCH, NONE, seed=0).epoch(0)
    return batch, len(dataset.names)


def measure_case(name, repeat):
    """The :class:`Case` of one training step.

    Its operations are three times those of a forward pass: the gradients of every layer's input and weight cost as
    many as the layer itself.
    """
    preset, image_size = CASES[name]
    batch, classes = shapes_batch(image_size)
    model = build_model(preset, classes, seed=0)
    forward = sum(row.operations for row in layer_table(model, (*image_size, 3)))
    errors = check_gradients(build_model(preset, classes, seed=0), batch)
    programs = training_programs(model, batch)
    check_losses(programs)
    return Case(name, 3 * BATCH * forward, interleave(programs, repeat), errors)


def main(arguments=None):
    parser = argument_parser(__doc__.split("\n")[0])
    parser.add_argument("--cases", nargs="+", choices=list(CASES), default=list(CASES), help="default: all")
    options = parser.parse_args(arguments)
    run(options, options.cases, lambda name: measure_case(name, options.repeat))


if __name__ == "__main__":
    main()
