"""How much memory a program takes, each in a process of its own: what one has freed, the next would find there."""

import sys
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from copy import deepcopy
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from minidl import Tensor
from tests.benchmarks.peers import OURS, OurTraining, TorchTraining, fill_with_numbers, use_threads
from yolov3.data.batches import Batch
from yolov3.model import build_model

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
TRUTHS = 4  # objects per picture
WARM_UP = "yolov3-nano"  # the smallest


def growth(prepare, *arguments):
    """``(bytes by which a process's peak memory grows, result)`` of ``prepare(*arguments)()`` in a new process.

    Only the second call counts: what ``prepare`` imports and makes is there before.  ``prepare`` must be importable.
    """
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as processes:
        return processes.submit(_growth, prepare, arguments).result()


def _growth(prepare, arguments):
    function = prepare(*arguments)
    before = _forget_peak()
    result = function()
    return _peak() - before, result


def _forget_peak():
    """Let the peak be counted from now on, where the system can do that; returns the peak so far."""
    with suppress(OSError):
        CLEAR.write_text("5")
    return _peak()


def _peak():
    """The most memory that this process has had, in bytes.

    Linux's getrusage is not asked: there a process inherits the peak of the one that started it.
    """
    if STATUS.exists():
        (kibibytes,) = (line.split()[1] for line in STATUS.read_text().splitlines() if line.startswith("VmHWM"))
        return 1024 * int(kibibytes)
    import resource  # not everywhere

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def fused_forward(name, batch, side, threads, settings):
    """For :func:`growth`: a preset made fast and run twice; the result is ``FusedNetwork.memory()``.

    ``settings``: of ``fuse``, None for its default.
    """
    use_threads(threads)
    model = build_model(name, seed=0)
    fill_with_numbers(model)
    images = np.zeros((batch, side, side, 3), np.float32)

    def run():
        fused = model.fuse(settings)
        for _ in range(2):
            fused(Tensor(images))
        return fused.network.memory()

    return run


def training_steps(program, preset, batch_shape, classes, threads):
    """For :func:`growth`: a program's network, its optimizer and two steps.

    ``batch_shape``: (batch, height, width).  The weights of the preset are there before; each program trains its own
    copy, which counts.
    """
    use_threads(threads)
    # At its first step a library loads what it needs: that is no memory of the step.
    _two_steps(program, build_model(WARM_UP, classes, seed=0), _random_batch((1, 64, 64), classes))
    model, batch = build_model(preset, classes, seed=0), _random_batch(batch_shape, classes)
    return partial(_two_steps, program, model, batch)


def _two_steps(program, model, batch):
    step = OurTraining(deepcopy(model), batch) if program == OURS else TorchTraining(model, batch)
    for _ in range(2):
        step()


def _random_batch(batch_shape, classes):
    rng = np.random.default_rng(0)
    images = rng.random((*batch_shape, 3), dtype=np.float32)
    truths = rng.uniform(0.1, 0.9, (batch_shape[0], TRUTHS, 5)).astype(np.float32)
    truths[..., 4] = rng.integers(0, classes, truths.shape[:2])
    return Batch(images, truths)
