"""Every CUDA kernel through NVIDIA's compiler, which needs no GPU: what it needs of a GPU, as one table.

``python -m tests.minidl.cuda.compile_check`` writes the table anew, to tests/benchmarks/results/cuda-registers.txt;
``--nvcc`` takes nvcc although NVRTC is there.
"""

import ctypes
import os
import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from multiprocessing import get_context
from pathlib import Path

from minidl.kernels.cuda.launch import options
from minidl.kernels.cuda.source import FOLDER, signatures, source_text

TABLE = Path(__file__).resolve().parents[2] / "benchmarks" / "results" / "cuda-registers.txt"
REFRESH = "python -m tests.minidl.cuda.compile_check"
# What is compiled for: Turing, Ampere, Hopper.  `mma.sync` on TF32 and `cp.async` begin with Ampere (PTX ISA).
ARCHITECTURES = (75, 80, 90)
TENSOR_CORES_FROM = 80
NUMBERS = ("float16", "float32", "float64")

_USAGE = re.compile(
    r"Compiling entry function '(?P<kernel>\w+)'.*?"
    r"(?P<stack>\d+) bytes stack frame, (?P<stores>\d+) bytes spill stores, (?P<loads>\d+) bytes spill loads.*?"
    r"Used (?P<registers>\d+) registers(?P<rest>[^\n]*)",
    re.S,
)


class CompileError(RuntimeError):
    """A file does not compile; the message is the compiler's."""


@dataclass(frozen=True)
class Usage:
    """What a kernel needs: registers per thread, bytes of static shared memory per block, and what did not fit.

    stack, spilled: bytes per thread of slow memory, for arrays that are indexed by variables and for registers that
    were too few.
    """

    file: str
    kernel: str
    numbers: str
    architecture: int
    registers: int
    shared: int
    stack: int
    spilled: int

    def __str__(self):
        return f"{self.file}, {self.kernel}, {self.numbers}, sm_{self.architecture}"


class Nvrtc:
    """The compiler library that CuPy uses, from the wheel ``nvidia-cuda-nvrtc`` (no CuPy needed)."""

    def __init__(self, folder):
        # The library looks for its other half in the system's folders only, unless that is loaded already.
        for builtins in folder.glob("libnvrtc-builtins.so.*"):
            ctypes.CDLL(str(builtins))
        self._library = ctypes.CDLL(str(next(folder.glob("libnvrtc.so.*"))))
        major, minor = ctypes.c_int(), ctypes.c_int()
        self._library.nvrtcVersion(ctypes.byref(major), ctypes.byref(minor))
        self.name = f"NVRTC {major.value}.{minor.value}"

    @staticmethod
    def find():
        """The folder of the library, beside the Python packages; None where the wheel is not installed."""
        folders = (folder for path in sys.path for folder in Path(path).glob("nvidia/*/lib"))
        return next((folder for folder in folders if any(folder.glob("libnvrtc.so.*"))), None)

    def compile(self, text, architecture, flags):
        """The compiler's report about the kernels of ``text``.  Raises CompileError."""
        program = ctypes.c_void_p()
        self._library.nvrtcCreateProgram(ctypes.byref(program), text.encode(), None, 0, None, None)
        flags = [f"--gpu-architecture=sm_{architecture}", "--ptxas-options=-v", *flags]
        failed = self._library.nvrtcCompileProgram(
            program, len(flags), (ctypes.c_char_p * len(flags))(*map(str.encode, flags))
        )
        size = ctypes.c_size_t()
        self._library.nvrtcGetProgramLogSize(program, ctypes.byref(size))
        log = ctypes.create_string_buffer(size.value)
        self._library.nvrtcGetProgramLog(program, log)
        self._library.nvrtcDestroyProgram(ctypes.byref(program))
        if failed:
            raise CompileError(log.value.decode())
        return log.value.decode()


class Nvcc:
    """The compiler of the CUDA toolkit."""

    def __init__(self, program):
        self._program = program
        report = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
        self.name = f"nvcc {re.search(r'release (.*),', report)[1]}"

    def compile(self, text, architecture, flags):
        """As :meth:`Nvrtc.compile`."""
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder) / "kernels.cu"
            source.write_text(text)
            command = [self._program, f"-arch=sm_{architecture}", "-cubin", "-Xptxas", "-v", *flags, source.name]
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        if done.returncode:
            raise CompileError(done.stderr)
        return done.stderr


@cache
def find_compiler(prefer_nvcc=False):
    """NVRTC where its wheel is installed, for CuPy compiles with it; else nvcc; None where neither is.

    They differ: NVRTC unrolls other loops, and it knows no header, so neither NAN nor INFINITY.
    """
    folder, program = Nvrtc.find(), shutil.which("nvcc")
    if program and (prefer_nvcc or folder is None):
        return Nvcc(program)
    return Nvrtc(folder) if folder else None


def sources():
    """The names of all ``.cu`` files."""
    return sorted(path.name for path in FOLDER.glob("*.cu"))


def cases_of(file):
    """``(file, numbers, architecture)`` of all that a file is compiled for.

    float64, which serves gradient checks alone, is compiled for one architecture; tensor cores for those that have them
    as we use them, and not in float64, which such a file refuses by an ``#error``.
    """
    text = source_text(file)
    on_tensor_cores = "mma.sync" in text
    for architecture in ARCHITECTURES[ARCHITECTURES.index(TENSOR_CORES_FROM) if on_tensor_cores else 0 :]:
        for numbers in NUMBERS:
            refused = re.search(r"#if NUMBER_BITS == 64\n\s*#error", text)
            if numbers != "float64" or (architecture == ARCHITECTURES[-1] and not refused):
                yield file, numbers, architecture


def read_report(log, file, numbers, architecture):
    """The :class:`Usage` of every kernel that the compiler's report names."""
    for found in _USAGE.finditer(log):
        shared = re.search(r"(\d+) bytes smem", found["rest"])
        spilled = int(found["stores"]) + int(found["loads"])
        yield Usage(
            file,
            found["kernel"],
            numbers,
            architecture,
            int(found["registers"]),
            int(shared[1]) if shared else 0,
            int(found["stack"]),
            spilled,
        )


def compile_file(compiler, file, numbers, architecture):
    """The usages of a file's kernels.  Raises CompileError for one that the compiler's report leaves out."""
    log = compiler.compile(source_text(file), architecture, options(numbers))
    usages = list(read_report(log, file, numbers, architecture))
    missing = signatures(file).keys() - {usage.kernel for usage in usages}
    if missing:
        raise CompileError(f"{file}: no report about {', '.join(sorted(missing))}:\n{log}")
    return usages


def compile_all(prefer_nvcc=False):
    """The usages of all kernels, in the table's order; as many files at once as there are cores.

    Raises CompileError with what the compiler says about every file that does not compile.
    """
    # Processes, for NVRTC compiles one program at a time in each.
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as processes:
        cases = [case for file in sources() for case in cases_of(file)]
        work = [processes.submit(_compile_case, prefer_nvcc, case) for case in cases]
    errors = dict.fromkeys(str(each.exception()) for each in work if each.exception())  # each once
    if errors:
        raise CompileError("\n".join(errors))
    usages = [usage for each in work for usage in each.result()]
    return sorted(usages, key=lambda each: (each.file, each.kernel, each.numbers, each.architecture))


def _compile_case(prefer_nvcc, case):
    return compile_file(find_compiler(prefer_nvcc), *case)


def table(usages, compiler):
    """The table as text: a line per kernel and type of numbers, per architecture ``registers / shared bytes``."""
    lines = [
        f"{compiler.name}; refreshed by: {REFRESH}",
        "registers per thread / bytes of static shared memory per block; * too few registers: some are in memory",
        "",
        f"{'file':<24}{'kernel':<34}{'numbers':<9}" + "".join(f"{f'sm_{each}':>13}" for each in ARCHITECTURES),
    ]
    cells = {}
    for usage in usages:
        row = cells.setdefault((usage.file, usage.kernel, usage.numbers), dict.fromkeys(ARCHITECTURES, ""))
        row[usage.architecture] = f"{usage.registers} / {usage.shared}{'*' if usage.spilled else ''}"
    for (file, kernel, numbers), row in cells.items():
        line = f"{file:<24}{kernel:<34}{numbers:<9}" + "".join(f"{cell:>13}" for cell in row.values())
        lines.append(line.rstrip())
    return "\n".join(lines) + "\n"


def main():
    prefer_nvcc = "--nvcc" in sys.argv[1:]
    compiler = find_compiler(prefer_nvcc)
    if compiler is None:
        raise SystemExit("this needs nvcc, or: pip install nvidia-cuda-nvrtc")
    text = table(compile_all(prefer_nvcc), compiler)
    TABLE.write_text(text)
    print(text)


if __name__ == "__main__":
    main()
