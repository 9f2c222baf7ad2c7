"""Timing programs against one another, and what is printed and kept of it."""

import argparse
import time
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median

from minidl import get_num_threads
from tests.benchmarks.machine import busy_warning, header, matrix_product
from tests.benchmarks.peers import OURS, PeerError, use_threads
from yolov3.errors import UserError
from yolov3.runs import write_json

UNSTEADY = 1.25  # a median so many times the best: the machine was not ours alone


@dataclass(frozen=True)
class Case:
    """What was measured.

    name: such as ``yolov3-416``; operations: of one run, multiplications and additions as the textbook counts them;
    seconds: ``{program: seconds of every run}``, None for a program that is not installed; errors: ``{program: largest
    relative difference of its result from this project's}``; matrix_speed: operations per second of the machine's
    matrix product; remarks: more lines for the table.
    """

    name: str
    operations: int
    seconds: dict
    errors: dict
    matrix_speed: float
    remarks: tuple = ()

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


def compare(programs, repeat):
    """(seconds as from :func:`interleave`, operations per second of the matrix product at its best).

    The product takes its turns with the programs, so that it meets the machine in the same states.
    """
    operations, product = matrix_product()
    seconds = interleave(programs | {product: product}, repeat)
    return seconds, operations / min(seconds.pop(product))


def table(case):
    """The case as lines of text; ``ours / peer`` of the medians, and of the best times.

    ``of matrix`` is the share of the matrix product's speed.  It is above 100 % where a program gets by with fewer
    operations than are counted, as by Winograd's way.
    """
    width = 2 + max(map(len, case.seconds))
    lines = [
        f"{case.name}: {case.operations / 1e9:.2f} billion operations; matrix product: {case.matrix_speed / 1e9:.0f} "
        "billion a second",
        f"  {'program':<{width}}{'median s':>10}{'best s':>10}{'ours / peer':>13}{'of best':>9}{'Bn ops / s':>12}"
        f"{'of matrix':>11}{'difference':>12}",
    ]
    medians, bests = case.medians(), case.bests()
    ratio, best_ratio = ratios(medians), ratios(bests)
    for program, seconds in case.seconds.items():
        if seconds is None:
            lines.append(f"  {program:<{width}}not installed")
            continue
        speed = case.operations / medians[program]
        line = f"  {program:<{width}}{medians[program]:>10.4f}{bests[program]:>10.4f}"
        line += f"{ratio[program]:>13.2f}{best_ratio[program]:>9.2f}" if program in ratio else " " * 22
        line += f"{speed / 1e9:>12.1f}{speed / case.matrix_speed:>11.0%}"
        lines.append(line + (f"{case.errors[program]:>12.1e}" if program in case.errors else ""))
    lines += [f"  {remark}" for remark in case.remarks]
    unsteady = [program for program in medians if medians[program] > UNSTEADY * bests[program]]
    if unsteady:
        lines.append(f"  unsteady, do not trust: {', '.join(unsteady)} (median above {UNSTEADY} times the best)")
    return "\n".join(lines)


def as_json(cases):
    """``{case: {"seconds": {program: median}, "ratio": {peer: ours / peer}}}``."""
    return {case.name: {"seconds": case.medians(), "ratio": ratios(case.medians())} for case in cases}


def argument_parser(description):
    """A parser with the options that all benchmarks share."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--repeat", type=positive_integer, default=10, help="timed runs of each (default 10)")
    parser.add_argument(
        "--threads", type=positive_integer, default=get_num_threads(), help="threads per program (default: all cores)"
    )
    return parser


def comparison_parser(description):
    """A parser with the options of the benchmarks that compare programs."""
    parser = argument_parser(description)
    parser.add_argument("--json", metavar="FILE", help="also write medians and ratios to this file")
    return parser


def positive_integer(text):
    """An argument that is a whole number from 1 on."""
    number = int(text)
    if number < 1:
        raise ValueError
    return number


@contextmanager
def ends_with_a_sentence():
    """Turn what the user can understand without a traceback into one sentence and exit code 1."""
    try:
        yield
    except (PeerError, UserError) as error:
        raise SystemExit(str(error)) from error


def start(options):
    """Set the threads, and say what the machine is and whether others use it."""
    warning = busy_warning()
    use_threads(options.threads)
    print(header(), flush=True)
    if warning:
        print(warning, flush=True)


def run(options, cases, measure):
    """Measure the cases, print their tables, and write the JSON file if there shall be one.

    ``measure(case)`` returns a :class:`Case` for each of ``cases``, whatever these are.
    """
    with ends_with_a_sentence():
        start(options)
        measured = []
        for case in cases:
            measured.append(measure(case))
            print(f"\n{table(measured[-1])}", flush=True)
        if options.json:
            write_json(options.json, as_json(measured))
