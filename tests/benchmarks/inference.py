"""Seconds of one forward pass, batch 1: this project against PyTorch, ONNX Runtime and OpenCV.

Run from the project's root: ``python -m tests.benchmarks.inference --repeat 20 --json FILE``.
"""

import sys
from pathlib import Path

if __package__ in (None, ""):  # run as a file: then Python does not know the project's root
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np

from minidl.nn import layer_table
from tests.benchmarks.measure import Case, argument_parser, interleave, positive_integer, run
from tests.benchmarks.peers import check_inference, fill_with_numbers, inference_programs
from yolov3.model import PRESETS, build_model, check_image_size


def measure_model(name, side, repeat):
    """The :class:`Case` of one preset on a picture of ``side x side``: operations are one forward pass's."""
    height, width = check_image_size((side, side))
    model = build_model(name, seed=0)
    fill_with_numbers(model)
    images = np.random.default_rng(0).random((1, height, width, 3), dtype=np.float32)
    operations = sum(row.operations for row in layer_table(model, (height, width, 3)))
    programs = inference_programs(model, images)
    errors = check_inference(programs)
    return Case(f"{name}-{side}", operations, interleave(programs, repeat), errors)


def main(arguments=None):
    parser = argument_parser(__doc__.split("\n")[0])
    parser.add_argument(
        "--models",
        nargs="+",
        choices=list(PRESETS),
        default=["yolov3", "yolov3-tiny"],
        help="default: yolov3 yolov3-tiny",
    )
    parser.add_argument("--imgsz", type=positive_integer, default=416, help="height and width (default 416)")
    options = parser.parse_args(arguments)
    run(options, options.models, lambda name: measure_model(name, options.imgsz, options.repeat))


if __name__ == "__main__":
    main()
