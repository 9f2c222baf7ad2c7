"""CUDA C++ into what g++ understands, line by line: two constructions of the language, everything else is left alone.

- ``__shared__ float tile[16][17], sums[16];`` declares memory that all threads of a block share.  It becomes a
  reference to memory that the scheduler gives to every thread of the block; ``extern __shared__ float t[];`` likewise.
- ``#include`` lines are taken out: what they would bring is in ``emulated_cuda.h``, or has been put in before.

Comments are blanked first.  No line moves, so that messages name the line of the ``.cu`` file.
"""

import re

_COMMENT = re.compile(r'"(?:\\.|[^"\\\n])*"|//[^\n]*|/\*.*?\*/', re.S)
_INCLUDE = re.compile(r"^[ \t]*#[ \t]*include[^\n]*", re.M)
_ALIGNED = r"(?:__align__\s*\([^)]*\)\s*)?"
_TYPE = r"((?:unsigned\s+)?[\w:]+(?:\s*<[^;>]*>)?)"
_DYNAMIC = re.compile(rf"extern\s+__shared__\s+{_ALIGNED}{_TYPE}\s+(\w+)\s*\[\s*\]\s*;")
_SHARED = re.compile(rf"\b__shared__\s+{_ALIGNED}{_TYPE}\s+([^;]+);")
_KERNEL = re.compile(
    r'extern\s+"C"\s+__global__\s+void\s+(?:__launch_bounds__\s*\([^)]*\)\s*)?(?P<name>\w+)\s*\((?P<parameters>[^)]*)\)'
)


def translate(code):
    """``(text, kernels)``: C++ for g++, and ``{kernel: [name of each parameter]}``."""
    code = _INCLUDE.sub("", _COMMENT.sub(_without_comment, code))
    kernels = {match["name"]: _parameter_names(match["parameters"]) for match in _KERNEL.finditer(code)}
    code = _DYNAMIC.sub(r'\1* \2 = emulator::dynamic_shared<\1>("\2");', code)
    code = _SHARED.sub(_shared_arrays, code)
    entries = "".join(f"EMULATED_KERNEL({name})\n" for name in kernels)
    return f'#include "emulated_cuda.h"\n#line 1 "kernel.cu"\n{code}\n#line 1 "entries of kernels"\n{entries}', kernels


def _without_comment(match):
    text = match[0]
    return text if text.startswith('"') else " " + "\n" * text.count("\n")


def _parameter_names(text):
    return [re.findall(r"\w+", parameter)[-1] for parameter in text.split(",") if parameter.strip()]


def _shared_arrays(match):
    kind, declarators = match[1], match[2]
    return " ".join(_shared_array(kind, each) for each in _split_at_commas(declarators))


def _shared_array(kind, declarator):
    name, sizes = re.match(r"\s*(\w+)\s*(.*)", declarator, re.S).groups()
    return f'auto& {name} = emulator::shared<{kind}{" ".join(sizes.split())}, __COUNTER__>("{name}");'


def _split_at_commas(text):
    """At those that are in no bracket: ``a[f(1, 2)], b[3]`` declares two arrays."""
    parts, depth = [""], 0
    for character in text:
        depth += (character in "[(<") - (character in "])>")
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return parts
