"""Seconds of one forward pass: this project, made fast by `fuse`, against PyTorch, ONNX Runtime and OpenCV.

Run from the project's root: ``python -m tests.benchmarks.inference --repeat 20 --json FILE``; with ``--ours all`` it
also measures what each trick of `fuse` brings, by leaving it out.
"""

import sys
from itertools import product
from pathlib import Path

if __package__ in (None, ""):  # run as a file: then Python does not know the project's root
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np

from minidl import get_num_threads
from minidl.nn import layer_table
from tests.benchmarks.measure import Case, compare, comparison_parser, positive_integer, run
from tests.benchmarks.memory import fused_forward, growth
from tests.benchmarks.peers import OURS, VARIANTS, check_inference, fill_with_numbers, inference_programs
from yolov3.model import PRESETS, build_model, check_image_size

# (preset, height and width, batch)
CASES = (("yolov3", 416, 1), ("yolov3-tiny", 416, 1), ("yolov3", 608, 1), ("yolov3", 416, 8))
ALL = "all"


def case_name(name, side, batch):
    """Such as ``yolov3-416`` or ``yolov3-416-batch8``."""
    return f"{name}-{side}" + (f"-batch{batch}" if batch > 1 else "")


def measure_model(name, side, batch, repeat, variants=()):
    """The :class:`Case` of one preset on ``batch`` pictures of ``side x side``; operations are those of all of them."""
    height, width = check_image_size((side, side))
    model = build_model(name, seed=0)
    fill_with_numbers(model)
    images = np.random.default_rng(0).random((batch, height, width, 3), dtype=np.float32)
    operations = batch * sum(row.operations for row in layer_table(model, (height, width, 3)))
    fused = {OURS: None} | {variant: VARIANTS[variant] for variant in variants if VARIANTS[variant] is not None}
    memory = tuple(memory_remark(*each, (name, batch, side)) for each in fused.items())
    programs = inference_programs(model, images, variants)
    errors = check_inference(programs)
    seconds, matrix_speed = compare(programs, repeat)
    return Case(case_name(name, side, batch), operations, seconds, errors, matrix_speed, memory)


def memory_remark(program, settings, case):
    """What ``fuse`` needs besides the network that it is made of, counted by itself and seen from outside."""
    grown, counted = growth(fused_forward, *case, get_num_threads(), settings)
    megabytes = {key: count / 1e6 for key, count in counted.items()}
    return (
        f"memory, {program}: weights {megabytes['weights']:.0f} MB, buffers {megabytes['buffers']:.0f} MB; the "
        f"process's peak grows by {grown / 1e6:.0f} MB"
    )


def main(arguments=None):
    parser = comparison_parser(__doc__.split("\n")[0])
    default = ", ".join(case_name(*case) for case in CASES)
    group = parser.add_argument_group("cases", f"default: {default}; every combination of what is given here")
    group.add_argument("--models", nargs="+", choices=list(PRESETS), help="default: yolov3 yolov3-tiny")
    group.add_argument("--imgsz", nargs="+", type=positive_integer, help="height and width (default 416)")
    group.add_argument("--batch", nargs="+", type=positive_integer, help="pictures at once (default 1)")
    parser.add_argument(
        "--ours",
        nargs="+",
        choices=[*VARIANTS, ALL],
        default=[],
        help="also measure this project with a trick left out",
    )
    options = parser.parse_args(arguments)
    cases = CASES
    if options.models or options.imgsz or options.batch:
        cases = product(options.models or ["yolov3", "yolov3-tiny"], options.imgsz or [416], options.batch or [1])
    variants = VARIANTS if ALL in options.ours else dict.fromkeys(options.ours)
    run(options, cases, lambda case: measure_model(*case, options.repeat, tuple(variants)))


if __name__ == "__main__":
    main()
