"""Runs Python with g++'s sanitizers watching the emulated kernels.

A sanitizer's library must be loaded before everything else, so it takes a process of its own, in which every kernel is
compiled for it:

    address    memory of nobody, with the stand-in's guards around every array
    undefined  arithmetic that C++ leaves undefined, misaligned vectors
    thread     races: the emulator tells it which accesses barriers put in order (8,000 CUDA threads a launch at most)
"""

import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

LIBRARIES = {"address": "libasan.so", "undefined": "libubsan.so", "thread": "libtsan.so"}
OPTIONS = {
    # Python keeps memory to its end; fibers have stacks that the sanitizer did not make
    "ASAN_OPTIONS": "detect_leaks=0:detect_stack_use_after_return=0",
    "OPENBLAS_NUM_THREADS": "1",  # NumPy's own threads, which are not compiled for a sanitizer
}


@cache
def problem(sanitizer):
    """Why a sanitizer cannot be used here; None where it can."""
    if shutil.which("g++") is None:
        return "the emulator needs g++"
    if not _library(sanitizer).is_absolute():
        return f"g++ has no {_library(sanitizer)}"
    result = run_under(sanitizer, "-c", "import numpy")
    return f"Python does not run with {_library(sanitizer)}: {result.stderr[-300:]}" if result.returncode else None


def run_under(sanitizer, *arguments):
    """``python *arguments`` under a sanitizer.  What it finds goes to stderr and makes the return code other than 0."""
    environment = os.environ | OPTIONS
    environment |= {"MINIDL_EMULATOR_SANITIZER": sanitizer, "LD_PRELOAD": str(_library(sanitizer))}
    command = [sys.executable, *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)


@cache
def _library(sanitizer):
    """Its path; the bare name where g++ has none."""
    command = ["g++", f"-print-file-name={LIBRARIES[sanitizer]}"]
    return Path(subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip())
