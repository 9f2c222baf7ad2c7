"""The machine that measures: what it is, whether it is ours alone, and how fast it multiplies matrices."""

import os
import platform
from datetime import date
from functools import partial
from pathlib import Path

import numpy as np

from minidl import get_num_threads
from tests.benchmarks.peers import library

BUSY = 0.7  # load average of the last minute before we start
VERSIONS = {"NumPy": "numpy", "PyTorch": "torch", "ONNX Runtime": "onnxruntime", "OpenCV": "cv2"}
MATRIX_SIDE = 1024


def matrix_product():
    """(operations, function): NumPy's float32 product of two matrices of 1024 x 1024, by all threads that BLAS may use.

    Its speed is the measure for every program of a run: whatever makes all the multiplications and additions that the
    textbook counts, and makes them by such products, cannot be faster.
    """
    a, b = np.random.default_rng(0).random((2, MATRIX_SIDE, MATRIX_SIDE), dtype=np.float32)
    return 2 * MATRIX_SIDE**3, partial(np.matmul, a, b, out=np.empty_like(a))


def busy_warning():
    """A sentence if other programs seem to use the cores, else None; to be asked before anything is measured.

    Taking turns does not help against it: threads that wait for one another by spinning, as PyTorch's do, lose many
    times their time when one of them has no core, and threads that sleep lose little.
    """
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    if load < BUSY:
        return None
    return f"The load average was {load:.1f} before the start: while other programs use the cores, ratios say nothing."


def header():
    """Machine, versions, threads and date in one line."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    modules = {title: library(name) for title, name in VERSIONS.items()}
    versions = [f"{title} {module.__version__ if module else 'not installed'}" for title, module in modules.items()]
    threads = f"{get_num_threads()} thread{'s' if get_num_threads() > 1 else ''}"
    numpy_version, *others = versions
    parts = [f"{_processor()}, {cores} cores", f"{numpy_version}, {_blas()}", *others, threads]
    return "; ".join([*parts, date.today().isoformat()])


def _blas():
    """NumPy's matrix product: library, version, and the processor for which its kernels were written.

    A library that does not know a new processor uses the kernels of an old one, at half the speed.
    """
    from threadpoolctl import threadpool_info

    found = [each for each in threadpool_info() if each["user_api"] == "blas" and "numpy" in each["filepath"]]
    names = [f"{each['internal_api']} {each['version']} ({each.get('architecture', '?')} kernels)" for each in found]
    return f"its BLAS {', '.join(names) or 'unknown'}"


def _processor():
    """The processor's name, as well as it can be found out."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
