"""compute-sanitizer watches every kernel: reads and writes outside of arrays, and races in shared memory."""

import shutil
import subprocess
import sys

from tests.gpu.stage import Skipped, main

TOOLS = ("memcheck", "racecheck")
FOUND = 99  # the exit code where it has found something


def run(stage):
    program = shutil.which("compute-sanitizer")
    if stage.emulated or program is None:
        raise Skipped("no GPU" if stage.emulated else "compute-sanitizer is not installed")
    verdicts = {}
    for tool in TOOLS:
        command = [program, "--tool", tool, "--error-exitcode", str(FOUND), "--print-limit", "20", sys.executable]
        done = subprocess.run([*command, "-m", "tests.gpu.calls", stage.device], check=False)
        verdicts[tool] = {0: "nothing found", FOUND: "errors found"}.get(done.returncode, f"exit {done.returncode}")
        stage.say(", ".join(f"{tool}: {verdict}" for tool, verdict in verdicts.items()))
    if set(verdicts.values()) != {"nothing found"}:
        raise SystemExit("what compute-sanitizer has found is above")


if __name__ == "__main__":
    main(run, __doc__)
