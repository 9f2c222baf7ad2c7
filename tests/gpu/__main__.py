"""Check and measure this project on an NVIDIA GPU: ``python -m tests.gpu --out FOLDER``, at most 8 minutes.

Needs CuPy, a GPU and pytest; compares with PyTorch where that is installed.  Each stage is a program of its own
(``python -m tests.gpu.NAME``), with a limit of time; the most valuable ones come first.  What they print goes to
log.txt, what they find to results.json, at once.  With --emulated a miniature of all stages runs without a GPU.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from minidl.device import DeviceError, resolve_device
from tests.gpu.stage import LOG, SKIPPED_CODE, add_result, forget_results, options, read_results

PROJECT = Path(__file__).resolve().parents[2]
MINUTES = 8
SECONDS_TO_STOP = 5  # between the interrupt, at which pytest still prints what failed, and the end by force
LEAST_SECONDS = 5  # a stage that has less is not begun


@dataclass(frozen=True)
class Plan:
    """A stage: its module's name, the seconds that it may take, and what it does."""

    name: str
    seconds: int
    purpose: str


STAGES = (
    Plan("environment", 45, "which machine this is, and how fast it multiplies and copies"),
    Plan("kernel_tests", 130, "the tests of the kernels and of everything on them, on the GPU alone"),
    Plan("inference", 60, "a forward pass of YOLOv3, against PyTorch"),
    Plan("training", 90, "a training step of YOLOv3, against PyTorch"),
    Plan("layers", 60, "every convolution of YOLOv3 by every way"),
    Plan("agreement", 60, "emulator, GPU and CPU compute the same"),
    Plan("curves", 60, "a short training run follows that of the CPU"),
    Plan("compiled", 75, "against torch.compile"),
    Plan("sanitizer", 60, "compute-sanitizer on every kernel"),
    Plan("counters", 30, "Nsight Compute on the convolutions"),
)


def stage_command(plan, arguments):
    """The program of a stage."""
    command = [sys.executable, "-u", "-m", f"tests.gpu.{plan.name}", "--out", str(arguments.out.resolve())]
    return command + ["--emulated"] * arguments.emulated


def run_stage(command, seconds, log):
    """Run a stage for at most ``seconds``; returns ``passed``, ``failed``, ``skipped`` or ``out of time``."""
    # A group of its own, so that whatever the stage starts ends with it.
    process = subprocess.Popen(
        command, cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, process_group=0
    )
    reader = threading.Thread(target=_copy_lines, args=(process.stdout, log), daemon=True)
    reader.start()
    try:
        code = process.wait(seconds)
    except subprocess.TimeoutExpired:
        _stop(process)
        return "out of time"
    finally:
        reader.join(SECONDS_TO_STOP)
    return {0: "passed", SKIPPED_CODE: "skipped"}.get(code, "failed")


def _copy_lines(lines, log):
    for line in lines:
        _tell(line.rstrip("\n"), log)


def _stop(process):
    os.killpg(process.pid, signal.SIGINT)
    with suppress(subprocess.TimeoutExpired):
        process.wait(SECONDS_TO_STOP)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)  # also what the stage has started and left behind
    process.wait()


def _tell(line, log):
    """Print, and keep at once."""
    print(line, flush=True)
    log.write(line + "\n")
    log.flush()


def summary(results):
    """The table at the end."""
    lines = [f"{'stage':<14}{'state':<13}{'seconds':>8}  result"]
    for plan in STAGES:
        if plan.name in results.get("stages", {}):
            state = results["stages"][plan.name]
            headline = results.get(plan.name, {}).get("headline", "")
            lines.append(f"{plan.name:<14}{state['state']:<13}{state['seconds']:>8.0f}  {headline}")
    return "\n".join(lines)


def main():
    parser = options(__doc__)
    names = [plan.name for plan in STAGES]
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="NAME", help=", ".join(names))
    parser.add_argument("--minutes", type=float, default=MINUTES, help=f"for all stages together (default {MINUTES})")
    arguments = parser.parse_args()
    try:
        resolve_device("emulated" if arguments.emulated else "cuda")
    except DeviceError as error:
        raise SystemExit(f"{error}; --emulated tries this command out without a GPU") from error
    if arguments.emulated:  # PyTorch's threads wait for one another by spinning, which other programs would pay for
        os.environ["OMP_NUM_THREADS"] = "1"
    arguments.out.mkdir(parents=True, exist_ok=True)
    end = time.monotonic() + 60 * arguments.minutes
    with (arguments.out / LOG).open("a") as log:
        for plan in STAGES:
            left = end - time.monotonic()
            if plan.name not in arguments.only:
                continue
            _tell(f"\n== {plan.name}: {plan.purpose}", log)
            forget_results(arguments.out, plan.name)
            begin = time.monotonic()
            state = "out of time"
            if left > LEAST_SECONDS:
                state = run_stage(stage_command(plan, arguments), min(plan.seconds, left), log)
            seconds = time.monotonic() - begin
            add_result(arguments.out, "stages", plan.name, {"state": state, "seconds": seconds})
        results = read_results(arguments.out)
        _tell("\n" + summary(results), log)
    states = [results["stages"][name]["state"] for name in arguments.only]
    return 0 if all(state in ("passed", "skipped") for state in states) else 1


if __name__ == "__main__":
    sys.exit(main())
