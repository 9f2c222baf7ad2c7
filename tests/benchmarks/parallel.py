"""Seconds and messages of a training step that several processes share (``mpiexec``), beside one process alone.

A step is forward, loss with its targets, backward, sums over the ranks and SGD's update, on generated pictures that are
already in memory.  The whole batch is the same in both; so are the cores: N ranks have a share of them each.  Run from
the project's root: ``python -m tests.benchmarks.parallel --ranks 2``.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

if __package__ in (None, ""):  # run as a file: then Python does not know the project's root
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np

from minidl import one_blas_thread
from minidl.collective import ALONE, MpiGroup, buckets, together
from minidl.nn import BatchNorm
from tests.benchmarks.machine import busy_warning, header
from tests.benchmarks.measure import ends_with_a_sentence, positive_integer
from tests.mpi import TOLERANT
from yolov3.data.augment import NONE
from yolov3.data.batches import TrainingBatches
from yolov3.data.shapes import ShapesDataset
from yolov3.learner import Learner
from yolov3.model import PRESETS, build_model, check_image_size
from yolov3.ranks import share_cores
from yolov3.train_settings import TrainSettings

KINDS = ("batch norm, forwards", "batch norm, backwards", "gradients", "loss and counts")
MESSAGES = (8, 8 << 10, 1 << 20, 32 << 20)  # bytes of the messages that are timed by themselves
WORKER = "YOLOV3_BENCHMARK_RANK"  # set in the processes that measure


class Counted:
    """A group that notes kind, bytes and seconds of every message of a step."""

    def __init__(self, group):
        self._group, self.messages = group, []

    def __getattr__(self, name):
        return getattr(self._group, name)

    def mean(self, array):
        """Batch norm's: forwards in float64."""
        kind = KINDS[0] if array.dtype == np.float64 else KINDS[1]
        return self._timed(kind, 1, array.nbytes, self._group.mean, array)

    def sum(self, array):
        """The loss's numbers."""
        return self._timed(KINDS[3], 1, array.nbytes, self._group.sum, array)

    def sum_all(self, arrays):
        """The gradients, with cutting and joining the messages."""
        size = sum(each.nbytes for each in arrays)
        return self._timed(KINDS[2], len(buckets(arrays)), size, self._group.sum_all, arrays)

    def _timed(self, kind, count, size, function, argument):
        begin = time.perf_counter()
        result = function(argument)
        self.messages.append((kind, count, size, time.perf_counter() - begin))
        return result


def measure(group, options):
    """``seconds`` of all steps, ``messages`` of the fastest: [kind, number, bytes, seconds], and ``bare``."""
    image_size = options.imgsz, options.imgsz
    settings = TrainSettings(
        model=options.model,
        image_size=image_size,
        batch=options.batch,
        optimizer="sgd",
        local_batchnorm=options.local_batchnorm,
    )
    dataset = ShapesDataset("train", size=options.batch, image_size=min(image_size))
    share = group.rank, group.size
    (batch,) = TrainingBatches(dataset, image_size, options.batch, NONE, seed=0, share=share).epoch(0)
    learner = Learner(build_model(options.model, len(dataset.names), seed=0), settings, lambda step: 1e-6)
    learner.begin_epoch(0)
    seconds, messages = [], []
    for step in range(options.repeat + 1):
        counted = Counted(group)
        group.wait()
        begin = time.perf_counter()
        with one_blas_thread, together(counted):
            learner.step(batch, step + 1)
        if step:  # the first one also allocates
            seconds.append(time.perf_counter() - begin)
            messages.append(counted.messages)
    fastest = messages[seconds.index(min(seconds))]
    return {"seconds": seconds, "messages": fastest, "bare": {size: bare(group, size) for size in MESSAGES}}


def bare(group, size, repeat=20):
    """Median seconds of an all-reduce of so many bytes of float32, one after the other."""
    array, seconds = np.ones(size // 4, np.float32), []
    for _ in range(repeat):
        begin = time.perf_counter()
        group.sum(array)
        seconds.append(time.perf_counter() - begin)
    return median(seconds)


def table(options, alone, together_, apart):
    """What was measured, as lines of text."""
    best = min(together_["seconds"])
    ways = {
        "one process, all cores": alone,
        f"{options.ranks} ranks, a share of them each": together_,
        "the same with --local-batchnorm": apart,
    }
    lines = [
        f"{options.model} at {options.imgsz}x{options.imgsz}, batch {options.batch}, a training step:",
        f"  {'':<34}{'median s':>10}{'best s':>10}",
        *(f"  {way:<34}{median(each['seconds']):>10.4f}{min(each['seconds']):>10.4f}" for way, each in ways.items()),
        "of rank 0's best step with ranks, waiting for the others included:",
        f"  {'messages':<26}{'number':>8}{'bytes':>14}{'ms':>9}{'of the step':>13}",
    ]
    for kind in KINDS:
        own = [each[1:] for each in together_["messages"] if each[0] == kind]
        count, size, seconds = (sum(column) for column in zip(*own, strict=True))
        lines.append(f"  {kind:<26}{count:>8}{size:>14,}{1000 * seconds:>9.2f}{seconds / best:>13.1%}")
    lines.append("an all-reduce by itself, median:")
    for size, seconds in together_["bare"].items():
        lines.append(f"  {int(size):>12,} bytes{1e6 * seconds:>12.1f} us{int(size) / seconds / 1e9:>9.2f} GB/s")
    return "\n".join(lines)


def sizes(name):
    """How much a network sends in a step, whatever the number of ranks: one line, computed from its shapes."""
    model = build_model(name)
    channels = [len(each.running_mean.data) for _, each in model.named_modules() if isinstance(each, BatchNorm)]
    count = model.parameter_count()
    return (
        f"{name}: gradients {4 * count:,} bytes ({count:,} parameters, float32); batch norm {len(channels)} messages "
        f"forwards, {16 * sum(channels):,} bytes in all, and {len(channels)} backwards, {8 * sum(channels):,} bytes"
    )


def _measured_by(command, arguments):
    """The results of rank 0 of a command that runs this module with WORKER set."""
    done = subprocess.run(
        [*command, sys.executable, "-m", "tests.benchmarks.parallel", *arguments],
        env=os.environ | TOLERANT | {WORKER: "1"},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


def work(options):
    """Measure in this process, one of ``options.ranks``, and let rank 0 print the results."""
    group = ALONE
    if options.ranks > 1:
        from mpi4py import MPI

        group = MpiGroup(MPI.COMM_WORLD)
        share_cores(group)
    results = measure(group, options)
    if group.rank == 0:
        print(json.dumps(results))


def main(arguments=None):
    """Start the processes that measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--ranks", type=positive_integer, default=2, help="processes (default 2)")
    parser.add_argument("--model", choices=list(PRESETS), default="yolov3-tiny", help="default: yolov3-tiny")
    parser.add_argument("--imgsz", type=positive_integer, default=416, help="default: 416")
    parser.add_argument("--batch", type=positive_integer, default=8, help="pictures in all ranks together (default 8)")
    parser.add_argument("--repeat", type=positive_integer, default=10, help="timed steps (default 10)")
    parser.add_argument("--local-batchnorm", action="store_true", help=argparse.SUPPRESS)  # for the processes started
    options = parser.parse_args(arguments)
    if WORKER in os.environ:
        return work(options)
    with ends_with_a_sentence():
        check_image_size((options.imgsz, options.imgsz))
        warning = busy_warning()
        print(header(), *([warning] if warning else []), sep="\n")
        names = "model", "imgsz", "batch", "repeat"
        same = [word for name in names for word in (f"--{name}", str(getattr(options, name)))]
        beside = Path(sys.executable).with_name("mpiexec")  # where pip puts it
        mpiexec = [str(beside) if beside.exists() else "mpiexec", "-n", str(options.ranks)]
        alone = _measured_by([], [*same, "--ranks", "1"])
        together_ = _measured_by(mpiexec, [*same, "--ranks", str(options.ranks)])
        apart = _measured_by(mpiexec, [*same, "--ranks", str(options.ranks), "--local-batchnorm"])
        print(table(options, alone, together_, apart))
        print(*(sizes(name) for name in dict.fromkeys((options.model, "yolov3"))), sep="\n")


if __name__ == "__main__":
    main()
