"""What Nsight Compute counts in the convolutions: shares of the peak rates, and warps at work."""

import shutil
import subprocess
import sys

from tests.gpu.stage import Skipped, main

KERNELS, LAUNCHES = "regex:conv_(blocked|tensor)", "12"
SECTIONS = ("SpeedOfLight", "Occupancy", "LaunchStats")


def run(stage):
    program = shutil.which("ncu")
    if stage.emulated or program is None:
        raise Skipped("no GPU" if stage.emulated else "Nsight Compute (ncu) is not installed")
    command = [program, "--clock-control", "none", "--kernel-name", KERNELS, "--launch-count", LAUNCHES]
    command += [word for section in SECTIONS for word in ("--section", section)]
    done = subprocess.run([*command, sys.executable, "-m", "tests.gpu.calls", stage.device], check=False)
    if done.returncode:
        raise SystemExit(f"ncu ended with {done.returncode}")
    stage.say(f"counters of {LAUNCHES} convolutions are in log.txt")


if __name__ == "__main__":
    main(run, __doc__)
