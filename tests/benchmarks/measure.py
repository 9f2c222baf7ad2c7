"""Timing programs against one another, and what is printed and kept of it."""

import argparse
import os
import platform
import time
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from statistics import median

from minidl import get_num_threads
from tests.benchmarks.peers import OURS, PeerError, library, use_threads
from yolov3.errors import UserError
from yolov3.runs import write_json

UNSTEADY = 1.25  # a median so many times the best: the machine was not ours alone
BUSY = 0.7  # load average of the last minute before we start
VERSIONS = {"NumPy": "numpy", "PyTorch": "torch", "ONNX Runtime": "onnxruntime", "OpenCV": "cv2"}


@dataclass(frozen=True)
class Case:
    """What was measured.

    name: such as ``yolov3-416``; operations: of one run, multiplications and additions; seconds: ``{program: seconds
    of every run}``, None for a program that is not installed; errors: ``{peer: largest relative difference of its
    result from this project's}``.
    """

    name: str
    operations: int
    seconds: dict
    errors: dict

    def medians(self):
        """``{program: median seconds}`` of the programs that ran."""
        return {program: median(seconds) for program, seconds in self.seconds.items() if seconds is not None}

    def bests(self):
        """``{program: least seconds}`` of the programs that ran."""
        return {program: min(seconds) for program, seconds in self.seconds.items() if seconds is not None}


def ratios(times):
    """``{peer: our time / its time}`` of ``{program: time}``: below 1 this project is the faster one."""
    return {peer: times[OURS] / time for peer, time in times.items() if peer != OURS}


def interleave(programs, repeat):
    """``{program: seconds of each of `repeat` runs}``; None for a program that is None.

    The programs take turns, so that a machine that is busy for a while is busy for all of them.  Before each timed run
    goes one without a clock: caches and threads are then the program's own, not its predecessor's.
    """
    seconds = {program: None if function is None else [] for program, function in programs.items()}
    for _ in range(repeat):
        for program, function in programs.items():
            if function is None:
                continue
            function()
            begin = time.perf_counter()
            function()
            seconds[program].append(time.perf_counter() - begin)
    return seconds


def table(case):
    """The case as lines of text; ``ours / peer`` of the medians, and of the best times."""
    lines = [
        f"{case.name}: {case.operations / 1e9:.2f} billion operations",
        f"  {'program':<14}{'median s':>10}{'best s':>10}{'ours / peer':>13}{'of best':>9}{'Bn ops / s':>12}"
        f"{'difference':>12}",
    ]
    medians, bests = case.medians(), case.bests()
    ratio, best_ratio = ratios(medians), ratios(bests)
    for program, seconds in case.seconds.items():
        if seconds is None:
            lines.append(f"  {program:<14}not installed")
            continue
        line = f"  {program:<14}{medians[program]:>10.4f}{bests[program]:>10.4f}"
        line += f"{ratio[program]:>13.2f}{best_ratio[program]:>9.2f}" if program in ratio else " " * 22
        line += f"{case.operations / 1e9 / medians[program]:>12.1f}"
        lines.append(line + (f"{case.errors[program]:>12.1e}" if program in case.errors else ""))
    unsteady = [program for program in medians if medians[program] > UNSTEADY * bests[program]]
    if unsteady:
        lines.append(f"  unsteady, do not trust: {', '.join(unsteady)} (median above {UNSTEADY} times the best)")
    return "\n".join(lines)


def as_json(cases):
    """``{case: {"seconds": {program: median}, "ratio": {peer: ours / peer}}}``."""
    return {case.name: {"seconds": case.medians(), "ratio": ratios(case.medians())} for case in cases}


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


def argument_parser(description):
    """A parser with the options that all benchmarks share."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--repeat", type=positive_integer, default=10, help="timed runs per program (default 10)")
    parser.add_argument(
        "--threads", type=positive_integer, default=get_num_threads(), help="threads per program (default: all cores)"
    )
    parser.add_argument("--json", metavar="FILE", help="also write medians and ratios to this file")
    return parser


def positive_integer(text):
    """An argument that is a whole number from 1 on."""
    number = int(text)
    if number < 1:
        raise ValueError
    return number


def run(options, names, measure):
    """Measure the cases ``names``, print their tables, and write the JSON file if there shall be one.

    ``measure(name)`` returns a :class:`Case`.  Ends with one sentence and exit code 1 where that cannot be done.
    """
    try:
        _run(options, names, measure)
    except (PeerError, UserError) as error:
        raise SystemExit(str(error)) from error


def _run(options, names, measure):
    warning = busy_warning()
    use_threads(options.threads)
    print(header(), flush=True)
    if warning:
        print(warning, flush=True)
    cases = []
    for name in names:
        cases.append(measure(name))
        print(f"\n{table(cases[-1])}", flush=True)
    if options.json:
        write_json(options.json, as_json(cases))
