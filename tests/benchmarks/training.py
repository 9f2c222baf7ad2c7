"""Seconds and memory of one training step, batch 8: this project against PyTorch.

A step is forward, loss with its targets, backward and Adam's update, on generated pictures that are already in memory.
Its memory is that of weights, gradients, Adam's means and all maps, at its peak, in a process of its own.
Run from the project's root: ``python -m tests.benchmarks.training --repeat 20 --json FILE``.
"""

import sys
from pathlib import Path

if __package__ in (None, ""):  # run as a file: then Python does not know the project's root
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from minidl import get_num_threads
from minidl.nn import layer_table
from tests.benchmarks.measure import Case, compare, comparison_parser, ratios, run
from tests.benchmarks.memory import growth, training_steps
from tests.benchmarks.peers import check_gradients, check_losses, training_programs
from yolov3.data.augment import NONE
from yolov3.data.batches import Batch, TrainingBatches
from yolov3.data.shapes import ShapesDataset
from yolov3.model import build_model

BATCH = 8
CHECKED = 2  # pictures on which gradients are compared; in float64, they are large
# name -> (preset, (height, width)); the first is what `yolov3 demo` trains
CASES = {
    "train-yolov3-nano-96x96": ("yolov3-nano", (96, 96)),
    "train-yolov3-nano-192x256": ("yolov3-nano", (192, 256)),
    "train-yolov3-small-256x320": ("yolov3-small", (256, 320)),
    "train-yolov3-tiny-416x416": ("yolov3-tiny", (416, 416)),
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
    few = Batch(batch.images[:CHECKED], batch.truths[:CHECKED])
    errors = check_gradients(build_model(preset, classes, seed=0), few)
    programs = training_programs(model, batch)
    check_losses(programs)
    memory = memory_remark(preset, image_size, classes, [name for name, step in programs.items() if step is not None])
    seconds, matrix_speed = compare(programs, repeat)
    return Case(name, 3 * BATCH * forward, seconds, errors, matrix_speed, (memory,))


def memory_remark(preset, image_size, classes, programs):
    """The peak memory of two steps of each program, and ours divided by the others'."""
    shape, threads = (BATCH, *image_size), get_num_threads()
    peaks = {program: growth(training_steps, program, preset, shape, classes, threads)[0] for program in programs}
    parts = [f"{program} {peak / 1e6:.0f} MB" for program, peak in peaks.items()]
    parts += [f"ours / {peer} {ratio:.2f}" for peer, ratio in ratios(peaks).items()]
    return f"peak memory: {', '.join(parts)}"


def main(arguments=None):
    parser = comparison_parser(__doc__.split("\n")[0])
    parser.add_argument("--cases", nargs="+", choices=list(CASES), default=list(CASES), help="default: all")
    options = parser.parse_args(arguments)
    run(options, options.cases, lambda name: measure_case(name, options.repeat))


if __name__ == "__main__":
    main()
