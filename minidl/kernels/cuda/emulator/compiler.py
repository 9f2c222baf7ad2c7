"""g++ as the compiler of emulated kernels: shared libraries from C++ text, kept from run to run.

What has been compiled stays in ``$XDG_CACHE_HOME/minidl/emulator`` (``~/.cache`` by default; a temporary folder where
that cannot be written to) under a name made of everything it depends on.  The folder may be deleted at any time.
"""

import hashlib
import os
import platform
import re
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).parent
FLAGS = (
    "-std=c++17",
    "-O2",
    "-g1",  # lines, for messages
    "-gdwarf-4",  # with version 5, addr2line may name this text's first file for lines of another
    "-fPIC",
    "-fno-strict-aliasing",  # kernels read floats four at a time through float4*
    "-fstack-clash-protection",  # a stack that is too small is noticed (fault.h)
    "-w",
)
SANITIZERS = ("address", "undefined", "thread")
# For a whole process, which must preload the sanitizer's library: tests/minidl/cuda/sanitizers.py does it
SANITIZER = os.environ.get("MINIDL_EMULATOR_SANITIZER", "")


class EmulatorError(RuntimeError):
    """A kernel cannot be compiled, was launched wrongly, or did what CUDA does not allow; the message says where."""


def compile_library(text, name, flags=(), checked=False):
    """The path of a shared library made of C++ ``text``; ``name`` is how messages call it.

    checked: with a call before every access to memory, which the emulator answers (``access_check.h``).
    """
    flags = [*FLAGS, *_native_flags(), *_sanitizer_flags(), *flags]
    if checked:
        if SANITIZER:
            raise EmulatorError(f"checked kernels cannot run under the {SANITIZER} sanitizer as well")
        flags += ["-fsanitize=thread", "-DEMULATOR_CHECKED"]
    key = hashlib.sha256("\0".join([_compiler(), _headers(), text, *flags]).encode()).hexdigest()[:32]
    library = _cache_folder() / f"{key}.so"
    if not library.exists():
        _compile(text, name, flags, library, link_flags=_sanitizer_flags())
    return library


def _find_compiler():
    path = shutil.which("g++")
    if path is None:
        raise EmulatorError(
            "g++ is not installed: the emulator compiles CUDA kernels with g++ (Debian, Ubuntu: apt install g++; "
            "Fedora: dnf install gcc-c++; conda: conda install gxx)"
        )
    return path


def _compile(text, name, flags, library, link_flags):
    """Two steps, so that a checked build is not linked with ThreadSanitizer's own library."""
    with tempfile.TemporaryDirectory(dir=library.parent) as folder:
        source, made, linked = (Path(folder) / file for file in ("source.cpp", "made.o", "linked.so"))
        source.write_text(text)
        _run_compiler(folder, ["-c", source.name, f"-I{FOLDER}", *flags, "-o", made.name], name)
        _run_compiler(folder, ["-shared", made.name, *link_flags, "-o", linked.name], name)
        linked.replace(library)  # in one step: another process sees all of it or nothing


def _run_compiler(folder, arguments, name):
    environment = {key: value for key, value in os.environ.items() if key != "LD_PRELOAD"}  # a sanitizer's
    command = [_find_compiler(), *arguments]
    result = subprocess.run(command, cwd=folder, text=True, capture_output=True, env=environment, check=False)
    if result.returncode:
        raise EmulatorError(f"g++ cannot compile {name}:\n{_first_errors(result.stderr.replace(f'{FOLDER}/', ''))}")


def _first_errors(messages, lines=20):
    """g++'s messages from the first error on."""
    start = re.search(r"^.*error:", messages, re.M)
    return "\n".join(messages[start.start() if start else 0 :].splitlines()[:lines])


def _sanitizer_flags():
    if SANITIZER and SANITIZER not in SANITIZERS:
        raise EmulatorError(f"MINIDL_EMULATOR_SANITIZER={SANITIZER}: choose one of {', '.join(SANITIZERS)}")
    if not SANITIZER:
        return []
    stop_at_first = ["-fno-sanitize-recover=all"] if SANITIZER == "undefined" else []
    names = ["-DUNDER_SANITIZER", f"-DUNDER_{SANITIZER.upper()}_SANITIZER"]
    return ["-O1", f"-fsanitize={SANITIZER}", *stop_at_first, *names]  # -O1: compiles in half the time


@cache
def _native_flags():
    """For the instructions of this very processor: above all fused multiply-add, which is slow without.

    They name its features, so that machines that share a home folder do not share what is compiled.
    """
    if platform.machine() not in ("x86_64", "AMD64"):
        return []
    try:
        features = re.search(r"^flags.*$", Path("/proc/cpuinfo").read_text(), re.M)[0]
    except (OSError, TypeError):
        return []
    return ["-march=native", f"-DPROCESSOR={hashlib.sha256(features.encode()).hexdigest()[:8]}"]


@cache
def _compiler():
    command = [_find_compiler(), "-dumpfullversion", "-dumpmachine"]
    return subprocess.run(command, text=True, capture_output=True, check=True).stdout


@cache
def _headers():
    return "\0".join(path.read_text() for path in sorted(FOLDER.glob("*.h")))


@cache
def _cache_folder():
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "minidl" / "emulator"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError:
        return Path(tempfile.mkdtemp(prefix="minidl-emulator-"))
