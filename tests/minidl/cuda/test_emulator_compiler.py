"""Compiling for the emulator: what its messages say, and what it keeps from run to run."""

import os
import shutil
import stat
import subprocess
import sys

import numpy as np
import pytest

from minidl.kernels.cuda import emulator
from minidl.kernels.cuda.emulator import EmulatorError, compiler
from minidl.kernels.cuda.source import source_text

pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="the emulator needs g++")
KERNEL = 'extern "C" __global__ void kernel(int* y) { y[0] = NUMBER; }'


def test_errors_of_the_compiler_name_file_and_line():
    code = KERNEL + "\n\n__shared__ int a, b;\nint wrong = undeclared;"
    with pytest.raises(EmulatorError, match=r"g\+\+ cannot compile kernel\.cu:\nkernel\.cu:4:13: error: .*undeclared"):
        emulator.Module(code, ("-DNUMBER=3",))
    with pytest.raises(EmulatorError, match=r"cannot compile some\.cu:\nsome\.cu:2:"):
        emulator.Module('#line 1 "some.cu"\n\n' + KERNEL)


def test_errors_in_an_included_file_name_that_file():
    code = source_text("activation.cu").replace("typedef float real;", "typedef floating real;")
    with pytest.raises(EmulatorError, match=r"activation\.cu:\nreal\.cuh:\d+:\d+: error: .*floating"):
        emulator.Module(code, ("-DNUMBER_BITS=32",))


def test_definitions_are_used_and_other_options_are_not():
    for number in (3, 4):
        y = np.zeros(1, np.int32)
        emulator.Module(KERNEL, ("-std=c++17", f"-DNUMBER={number}", "--use_fast_math")).get_function("kernel")(
            (1,), (1,), (y,)
        )
        assert y[0] == number


def test_unknown_kernel():
    with pytest.raises(EmulatorError, match=r"no extern \"C\" .* is named other; there are: kernel"):
        emulator.Module(KERNEL, ("-DNUMBER=1",)).get_function("other")


@pytest.fixture
def empty_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    compiler._cache_folder.cache_clear()
    yield tmp_path / "minidl" / "emulator"
    compiler._cache_folder.cache_clear()


def test_what_was_compiled_is_kept(empty_cache, monkeypatch):
    first = compiler.compile_library("int one;", "one.cu")
    assert first.parent == empty_cache
    assert compiler.compile_library("int two;", "two.cu") != first
    assert compiler.compile_library("int one;", "one.cu", ("-DFLAG",)) != first
    assert len(list(empty_cache.iterdir())) == 3  # no other file is left
    monkeypatch.setattr(compiler, "_compile", None)  # not called again
    assert compiler.compile_library("int one;", "other name.cu") == first
    monkeypatch.setattr(compiler, "_headers", lambda: "changed")
    with pytest.raises(TypeError):
        compiler.compile_library("int one;", "one.cu")


def test_processes_that_compile_the_same_at_once(empty_cache):
    script = "from minidl.kernels.cuda.emulator import compiler; compiler.compile_library('int one;', 'one.cu')"
    processes = [subprocess.Popen([sys.executable, "-c", script]) for _ in range(3)]
    assert [process.wait() for process in processes] == [0, 0, 0]
    assert len(list(empty_cache.iterdir())) == 1


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_to(empty_cache):
    empty_cache.mkdir(parents=True)
    empty_cache.chmod(stat.S_IRUSR | stat.S_IXUSR)
    assert compiler.compile_library("int one;", "one.cu").parent != empty_cache


def test_without_a_compiler(empty_cache, monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(EmulatorError, match=r"g\+\+ is not installed: .* apt install g\+\+"):
        compiler.compile_library("int one;", "one.cu")


def test_unknown_sanitizer(monkeypatch):
    monkeypatch.setattr(compiler, "SANITIZER", "memory")
    with pytest.raises(EmulatorError, match="MINIDL_EMULATOR_SANITIZER=memory: choose one of address, undefined"):
        compiler.compile_library("int one;", "one.cu")
    monkeypatch.setattr(compiler, "SANITIZER", "address")
    with pytest.raises(EmulatorError, match="cannot run under the address sanitizer"):
        compiler.compile_library("int one;", "one.cu", checked=True)
