"""The project's own tests, those that run on a device, on the GPU alone."""

import importlib.util
import os
import re
import subprocess
import sys

from tests.gpu.stage import main

FOLDERS = ("tests/minidl", "tests/yolov3")
MINIATURE = ("tests/minidl/test_activation.py", "-k", "test_leaky_relu and shape0")
WORKERS = 4  # processes that share the GPU, where pytest-xdist is installed


def run(stage):
    command = [sys.executable, "-m", "pytest", "-q", "--tb=short", "--durations=10", "-p", "no:cacheprovider"]
    command += ["--continue-on-collection-errors"]  # some tests need packages that a machine with a GPU may not have
    command += MINIATURE if stage.emulated else FOLDERS
    if not stage.emulated and importlib.util.find_spec("xdist"):
        command += ["-n", str(WORKERS)]
    environment = os.environ | {"YOLOV3_TEST_DEVICES": stage.device}
    lines, failed = [], []
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as tests:
        for line in tests.stdout:
            print(line, end="", flush=True)
            lines.append(line)
            if line.startswith(("FAILED", "ERROR")):
                failed.append(line.strip())
                stage.record("failed", failed)
    counts = next((line.strip(" =\n") for line in reversed(lines) if re.search(r"\d+ (passed|failed|error)", line)), "")
    stage.say(counts or "pytest says nothing")
    raise SystemExit(tests.returncode)


if __name__ == "__main__":
    main(run, __doc__)
