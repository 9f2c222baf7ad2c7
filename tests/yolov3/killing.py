"""Runs of ``yolov3 train`` in processes of their own, which are killed without warning."""

import subprocess
import sys
import threading
import time

from tests.conftest import PROJECT


def start(*arguments):
    """Start ``yolov3 train``; its process."""
    command = [sys.executable, "-m", "yolov3", "train", *map(str, arguments)]
    return subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(process):
    """Wait for the end of a process that must succeed; what it wrote to stderr."""
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    return errors


def kill_after(process, seconds):
    """Kill a process (SIGKILL) that many seconds after it began to train; whether it was still running.

    It says where the results are just before that.
    """
    lines = []
    for line in process.stderr:
        lines.append(line)
        if "results in" in line:
            break
    drain = threading.Thread(target=process.stderr.read)  # a full pipe would stop it
    drain.start()
    time.sleep(seconds)
    was_running = process.poll() is None
    process.kill()
    process.wait()
    drain.join()
    for pipe in (process.stdout, process.stderr):
        pipe.close()
    assert was_running or process.returncode == 0, lines
    return was_running
