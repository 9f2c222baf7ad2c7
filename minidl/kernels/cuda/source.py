"""The CUDA C++ files beside this one: their text with includes put in, and the signatures of their kernels."""

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).parent

_INCLUDE = re.compile(r'^#include "(?P<file>\w+\.cuh)"$', re.M)
_KERNEL = re.compile(
    r'extern\s+"C"\s+__global__\s+void\s+(?:__launch_bounds__\s*\([^)]*\)\s*)?(?P<name>\w+)\s*\((?P<parameters>[^)]*)\)'
)


@dataclass(frozen=True)
class Parameter:
    """One parameter of a kernel: its type without ``const``, such as ``real``, and whether it is a pointer to that."""

    name: str
    type: str
    pointer: bool


@cache
def source_text(file):
    """The text of a ``.cu`` file with the ``.cuh`` files it includes put in once each.

    ``#line`` directives keep every line's own file and number, so that compilers and the emulator name them.
    """
    return _expand(file, set())


def _expand(file, included):
    included.add(file)
    text = (FOLDER / file).read_text()

    def put_in(match):
        other = match["file"]
        following = text.count("\n", 0, match.start()) + 2
        inner = "" if other in included else _expand(other, included)
        return f'{inner}\n#line {following} "{file}"'

    return f'#line 1 "{file}"\n' + _INCLUDE.sub(put_in, text)


@cache
def signatures(file):
    """``{kernel: [Parameter]}`` of every ``extern "C" __global__`` function of a ``.cu`` file."""
    text = re.sub(r"//[^\n]*", "", source_text(file))
    return {match["name"]: _parameters(match["parameters"]) for match in _KERNEL.finditer(text)}


def _parameters(text):
    return [_parameter(each) for each in text.split(",") if each.strip()]


def _parameter(text):
    words = re.sub(r"\bconst\b|\b__restrict__\b", "", text).replace("*", " * ").split()
    pointer = "*" in words
    words = [word for word in words if word != "*"]
    return Parameter(words[-1], " ".join(words[:-1]), pointer)
