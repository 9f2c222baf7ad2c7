"""The scheduler (``scheduler.cpp``) as Python calls it."""

import ctypes
import re
import shutil
import subprocess
import threading
from functools import cache
from pathlib import Path
from typing import NamedTuple

from minidl.kernels.cuda.emulator.compiler import FOLDER, SANITIZER, compile_library
from minidl.kernels.cuda.emulator.settings import current_settings

_launching = threading.Lock()  # there is one scheduler


class Turn(NamedTuple):
    """A thread of a block ran, until it waited for others or ended."""

    block: tuple  # (x, y, z)
    thread: tuple  # (x, y, z)
    phase: int  # how many barriers of its block the thread had passed
    stop: str  # where it waits: "__syncthreads", an operation of its warp such as "__shfl_down_sync", or "end"
    file: str | None  # of the .cu file; None at the end
    line: int | None


class _Array(ctypes.Structure):
    _fields_ = (
        ("begin", ctypes.c_void_p),
        ("end", ctypes.c_void_p),
        ("element_size", ctypes.c_size_t),
        ("unit_size", ctypes.c_size_t),
        ("name", ctypes.c_char_p),
    )


class _Launch(ctypes.Structure):
    _fields_ = (
        ("call", ctypes.c_void_p),
        ("arguments", ctypes.POINTER(ctypes.c_void_p)),
        ("grid", ctypes.c_uint * 3),
        ("block", ctypes.c_uint * 3),
        ("dynamic_shared_bytes", ctypes.c_size_t),
        ("order", ctypes.c_uint),
        ("only_block", ctypes.c_long),
        ("only_thread", ctypes.c_long),
        ("watched", ctypes.c_int),
        ("module_begin", ctypes.c_void_p),
        ("module_end", ctypes.c_void_p),
        ("checked", ctypes.c_int),
        ("arrays", ctypes.POINTER(_Array)),
        ("array_count", ctypes.c_size_t),
    )


class _Turn(ctypes.Structure):
    _fields_ = (
        ("block", ctypes.c_uint),
        ("thread", ctypes.c_uint),
        ("phase", ctypes.c_uint),
        ("line", ctypes.c_int),
        ("operation", ctypes.c_char_p),
        ("file", ctypes.c_char_p),
    )


@cache
def scheduler():
    """The compiled scheduler.  Raises EmulatorError where there is no g++."""
    flags = ["-fno-sanitize=all"] if SANITIZER else []  # sanitizers look at kernels
    path = compile_library((FOLDER / "scheduler.cpp").read_text(), "scheduler.cpp", flags)
    library = ctypes.CDLL(str(path), ctypes.RTLD_GLOBAL)  # global: modules find its functions
    library.emulator_launch.argtypes = [ctypes.POINTER(_Launch)]
    library.emulator_launch.restype = library.emulator_printed.restype = ctypes.c_char_p
    library.emulator_turns.restype = ctypes.POINTER(_Turn)
    return library


def launch(library, kernel, grid, block, shared_bytes, pointers, arrays, checked):
    """Run a kernel of a loaded library; what went wrong, as text, or None.

    pointers: the address of each argument's value; arrays: ``(name, NumPy array)`` of those that the kernel was given.
    """
    settings = current_settings()
    described = _Launch(
        call=ctypes.cast(getattr(library, f"{kernel}_call"), ctypes.c_void_p),
        arguments=(ctypes.c_void_p * len(pointers))(*pointers),
        grid=grid,
        block=block,
        dynamic_shared_bytes=shared_bytes,
        order=settings.order,
        only_block=_number(settings.block, grid),
        only_thread=_number(settings.thread, block),
        watched=settings.turns is not None,
    )
    described.module_begin, described.module_end = _bounds(library)
    if checked:
        described.checked = True
        described.array_count = len(arrays)
        described.arrays = (_Array * len(arrays))(*[_described(*each) for each in arrays])
    with _launching:
        problem = scheduler().emulator_launch(described).decode()
        printed = scheduler().emulator_printed().decode(errors="replace")
        if settings.turns is not None:
            settings.turns.extend(_turns(grid, block))
    if printed:
        print(printed, end="", flush=True)  # not by C: sys.stdout may be a notebook
    return _with_lines(problem, library) if problem else None


def _number(index, size):
    """The place of ``(x, y, z)`` when x runs fastest; -1 for None, a number too large for an index too large."""
    if index is None:
        return -1
    if any(each >= limit for each, limit in zip(index, size, strict=True)):
        return 2**31 - 1
    return index[0] + size[0] * (index[1] + size[1] * index[2])


def _index(number, size):
    return number % size[0], number // size[0] % size[1], number // size[0] // size[1]


def _bounds(library):
    """Where a loaded library lies in memory."""
    begin, end = ctypes.c_void_p(), ctypes.c_void_p()
    library.emulator_module_bounds(ctypes.byref(begin), ctypes.byref(end))
    return begin, end


def _described(name, array):
    begin, size = array.ctypes.data, array.itemsize
    unit = 2 if array.dtype.kind == "V" else size  # as size_of_element in emulated_threads.h
    return _Array(begin, begin + array.nbytes, size, unit, name.encode())


def _turns(grid, block):
    count = ctypes.c_size_t()
    turns = scheduler().emulator_turns(ctypes.byref(count))
    for turn in turns[: count.value]:
        file = turn.file and turn.file.decode()
        stop = turn.operation.decode()
        yield Turn(_index(turn.block, grid), _index(turn.thread, block), turn.phase, stop, file, turn.line or None)


def _with_lines(problem, library):
    """Addresses of the compiled kernel turned into ``file:line``."""
    return re.sub(r"<line at (\w+)>", lambda match: _line(library._name, match[1]), problem)


def _line(path, address):
    """The innermost line of a kernel's own file: an inlined function of the emulator's headers is passed over."""
    program = shutil.which("addr2line")  # of the binutils, without which g++ does not work
    if program is None:
        return "a line that addr2line, which is not installed, would name"
    command = [program, "--inlines", "-e", path, address]
    frames = subprocess.run(command, text=True, capture_output=True, check=True).stdout.splitlines()
    own = [frame for frame in frames if not Path(frame.split(":")[0]).name.startswith("emulated_")] or frames
    return Path(own[0].split(" (")[0]).name
