"""What every stage is given: the device, and a place for what it finds out."""

import argparse
import json
import math
import sys
from dataclasses import dataclass
from pathlib import Path

from yolov3.runs import write_json

RESULTS, LOG = "results.json", "log.txt"
DIGITS = 4  # that are kept of a measured number


class Skipped(Exception):
    """A stage has nothing to do here; the message says why."""


SKIPPED_CODE = 77  # the exit code of a stage that was skipped, as the automake tests have it


@dataclass(frozen=True)
class Stage:
    """One stage while it runs.

    name; device: ``cuda``, or ``emulated`` for a miniature of the stage; folder: where results.json is, and is whole
    after every :meth:`record`, so that nothing is lost when time is up.
    """

    name: str
    device: str
    folder: Path

    @property
    def emulated(self):
        return self.device == "emulated"

    @property
    def torch_device(self):
        """Where PyTorch computes, if it is installed."""
        return "cpu" if self.emulated else "cuda"

    def record(self, name, value):
        """Keep a value, of JSON's types, under the stage's name."""
        add_result(self.folder, self.name, name, value)

    def say(self, headline):
        """Print the stage's result in one sentence, which the table at the end repeats."""
        print(headline, flush=True)
        self.record("headline", headline)

    def found_by(self, stage):
        """What another stage of this run recorded: ``{name: value}``."""
        return read_results(self.folder).get(stage, {})


def read_results(folder):
    """``{stage: {name: value}}`` so far."""
    path = Path(folder) / RESULTS
    return json.loads(path.read_text()) if path.exists() else {}


def add_result(folder, stage, name, value):
    """Add to results.json; the file is replaced by a whole new one."""
    results = read_results(folder)
    results.setdefault(stage, {})[name] = _rounded(value)
    write_json(Path(folder) / RESULTS, results)


def forget_results(folder, stage):
    """Drop what an earlier run of a stage has left in results.json."""
    results = read_results(folder)
    if results.pop(stage, None) is not None:
        write_json(Path(folder) / RESULTS, results)


def _rounded(value):
    if isinstance(value, dict):
        return {str(key): _rounded(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(each) for each in value]
    if isinstance(value, float):  # NumPy's float64 is one
        return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else str(value)
    return value


def installed_torch():
    """PyTorch, or None where it is not installed."""
    try:
        import torch
    except ImportError:
        return None
    return torch


def options(description):
    """The options of the command and of each of its stages."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/gpu"), help="folder of results.json and log.txt")
    parser.add_argument("--emulated", action="store_true", help="a miniature on the emulator, to try the command out")
    return parser


def main(run, description):
    """The program of a stage's module: ``run(stage)`` with what the command line says."""
    arguments = options(description).parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    name = Path(sys.argv[0]).stem
    try:
        run(Stage(name, "emulated" if arguments.emulated else "cuda", arguments.out))
    except Skipped as reason:
        print(f"skipped: {reason}", flush=True)
        add_result(arguments.out, name, "headline", f"skipped: {reason}")
        raise SystemExit(SKIPPED_CODE) from None
