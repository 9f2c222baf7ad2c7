"""How the time of a fused forward pass grows with batch, image size and threads: a table, a figure, a CSV file.

Run from the project's root: ``python -m tests.benchmarks.scaling --out FOLDER``; writes ``scaling.png`` and
``scaling.csv`` there.
"""

import csv
import io
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

if __package__ in (None, ""):  # run as a file: then Python does not know the project's root
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np

from minidl import Tensor, get_num_threads, no_grad, one_blas_thread, set_num_threads
from minidl.nn import layer_table
from tests.benchmarks.measure import (
    UNSTEADY,
    argument_parser,
    ends_with_a_sentence,
    interleave,
    positive_integer,
    start,
)
from tests.benchmarks.scaling_plot import plot_scaling
from yolov3.model import PRESETS, build_model, check_image_size
from yolov3.runs import write_text, writing

BATCHES = (1, 2, 4, 8)
SIZES = (224, 320, 416, 512, 608, 704, 832)
GOAL = 1.3  # growth of the time per operation from the smallest image size to the largest


@dataclass(frozen=True)
class Point:
    """What was measured of one setting; operations: of one forward pass of the whole batch; seconds: of every run."""

    batch: int
    size: int
    threads: int
    operations: int
    seconds: tuple

    @property
    def median(self):
        return median(self.seconds)

    @property
    def best(self):
        return min(self.seconds)


def measure(model, settings, repeat):
    """A :class:`Point` for each of the settings (batch, size, threads); they take turns with one fused network."""
    before, network = get_num_threads(), model.fuse()
    programs = {each: partial(_forward, network, *each) for each in settings}
    try:
        seconds = interleave(programs, repeat)
    finally:
        set_num_threads(before)
    return [Point(*each, each[0] * _operations(model, each[1]), tuple(seconds[each])) for each in settings]


def _forward(network, batch, size, threads):
    set_num_threads(threads)
    images = Tensor(np.zeros((batch, size, size, 3), np.float32))
    with one_blas_thread, no_grad():
        network(images)


def _operations(model, size):
    return sum(row.operations for row in layer_table(model, (size, size, 3)))


def thread_counts(most):
    """1, 2, 4, ... and ``most``."""
    return sorted({most, *(1 << power for power in range(most.bit_length()))} - {0})


def growth_per_operation(points):
    """Seconds per operation of each point divided by those of the first: by the medians, and by the best times."""
    first = points[0]
    scale = [first.operations / point.operations for point in points]
    medians = [factor * point.median / first.median for factor, point in zip(scale, points, strict=True)]
    bests = [factor * point.best / first.best for factor, point in zip(scale, points, strict=True)]
    return medians, bests


def table(points):
    """One panel's points as lines of text; ``per operation`` is relative to the first point."""
    lines = [
        f"{'batch':>5}{'size':>6}{'threads':>9}{'median s':>10}{'best s':>10}{'s / picture':>13}{'Bn ops / s':>12}"
        f"{'per operation':>15}{'of best':>9}"
    ]
    for point, by_median, by_best in zip(points, *growth_per_operation(points), strict=True):
        lines.append(
            f"{point.batch:>5}{point.size:>6}{point.threads:>9}{point.median:>10.4f}{point.best:>10.4f}"
            f"{point.median / point.batch:>13.4f}{point.operations / point.median / 1e9:>12.1f}"
            f"{by_median:>15.2f}{by_best:>9.2f}{'  unsteady' if point.median > UNSTEADY * point.best else ''}"
        )
    return "\n".join(lines)


def verdict(points):
    """How much the time per operation grows with the image size, against the goal."""
    (*_, by_median), (*_, by_best) = growth_per_operation(points)
    return (
        f"from {points[0].size} to {points[-1].size} pixels the time per operation grows by {by_median:.2f} "
        f"(best times: {by_best:.2f}); the goal is at most {GOAL}"
    )


def as_csv(panels):
    """All points as CSV, with what was ``varied``."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["varied", "batch", "size", "threads", "operations", "median_seconds", "best_seconds"])
    for varied, points in panels.items():
        for each in points:
            settings = each.batch, each.size, each.threads, each.operations
            writer.writerow([varied, *settings, f"{each.median:.6f}", f"{each.best:.6f}"])
    return text.getvalue()


def main(arguments=None):
    parser = argument_parser(__doc__.split("\n")[0])
    parser.add_argument("--model", choices=list(PRESETS), default="yolov3", help="default: yolov3")
    parser.add_argument("--imgsz", type=positive_integer, default=416, help="where batch or threads vary (default 416)")
    parser.add_argument("--batches", nargs="+", type=positive_integer, default=BATCHES, help="default: 1 2 4 8")
    parser.add_argument("--sizes", nargs="+", type=positive_integer, default=SIZES, help="default: 224 to 832")
    parser.add_argument("--out", metavar="FOLDER", default="runs/scaling", help="default: runs/scaling")
    options = parser.parse_args(arguments)
    with ends_with_a_sentence():
        for size in (options.imgsz, *options.sizes):
            check_image_size((size, size))
        with writing(options.out):
            Path(options.out).mkdir(parents=True, exist_ok=True)
        start(options)
        model, threads = build_model(options.model, seed=0), options.threads
        settings = {
            "batch": [(batch, options.imgsz, threads) for batch in sorted(set(options.batches))],
            "image size": [(1, size, threads) for size in sorted(set(options.sizes))],
            "threads": [(1, options.imgsz, count) for count in thread_counts(threads)],
        }
        panels = {}
        for varied, each in settings.items():
            panels[varied] = measure(model, each, options.repeat)
            print(f"\n{options.model}, {varied}\n{table(panels[varied])}", flush=True)
        print(verdict(panels["image size"]))
        write_text(Path(options.out) / "scaling.csv", as_csv(panels))
        plot_scaling(panels, options.model, GOAL, Path(options.out) / "scaling.png")
        print(f"written: {options.out}/scaling.png and scaling.csv")


if __name__ == "__main__":
    main()
