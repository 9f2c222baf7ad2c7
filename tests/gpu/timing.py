"""Seconds of programs on a GPU, in turns: a card that is hot, or not ours alone, is so for all of them."""

import time
import traceback
from functools import cache
from math import ceil
from statistics import median

from minidl.device import array_library
from tests.gpu.stage import installed_torch

SHORTEST = 0.02  # seconds of one sample: a program that takes less is run several times
FEWEST_ROUNDS = 3


def waiter(device):
    """A function that waits until the device has done everything, ours and PyTorch's alike."""
    if device == "cuda":
        return array_library(device).cuda.runtime.deviceSynchronize
    return lambda: None


def take_turns(programs, device, rounds, deadline, after_turn=lambda: None, shortest=SHORTEST):
    """``({program: seconds per call of every round}, {program: why it failed})``.

    Parameters
    ----------
    programs: ``{name: function without arguments}``
    rounds: how many; after ``deadline`` (of time.monotonic) no more begin once there are FEWEST_ROUNDS
    after_turn: called after each program's turn, such as to free memory for the next
    shortest: seconds of a sample, so that what launches the work and what ends it are spread over several calls

    Before each sample the program runs once without a clock.  One that raises takes no further turns.
    """
    wait = waiter(device)
    calls, seconds, errors = {}, {}, {}
    for name, function in programs.items():
        try:
            function()  # compiles, allocates, lets libraries choose
            calls[name] = max(1, ceil(shortest / _sample(function, 1, wait)))
            seconds[name] = []
        except Exception as error:  # whatever it is, the other programs shall be measured
            traceback.print_exc()
            errors[name] = sentence(error)
        after_turn()
    for done in range(rounds):
        if done >= FEWEST_ROUNDS and time.monotonic() > deadline:
            break
        for name in list(seconds):
            try:
                programs[name]()
                seconds[name].append(_sample(programs[name], calls[name], wait))
            except Exception as error:
                traceback.print_exc()
                errors[name] = sentence(error)
                del seconds[name]
            after_turn()
    return seconds, errors


def _sample(function, calls, wait):
    """Seconds per call, from an idle device to an idle device."""
    wait()
    begin = time.perf_counter()
    for _ in range(calls):
        function()
    wait()
    return (time.perf_counter() - begin) / calls


def sentence(error):
    """An error in one line."""
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0] if text else ''}"[:200]


class KernelClock:
    """Median seconds of launches by the device's own clock, with caches that hold nothing of use.

    In a network a layer's weights were used a whole network ago.  So before each run a large array is overwritten,
    which also takes so long that the launches to be timed are queued before the device gets to them.
    """

    BYTES = 1 << 29

    def __init__(self, device):
        self._device, self._xp = device, array_library(device)
        self._caches = self._xp.zeros(self.BYTES if device == "cuda" else 1, "uint8")

    def seconds(self, function, repeat):
        """Median seconds of ``function()``; it runs once before, which compiles it."""
        function()
        if self._device != "cuda":
            return median(_sample(function, 1, lambda: None) for _ in range(repeat))
        cuda, events = self._xp.cuda, []
        for _ in range(repeat):
            self._caches.fill(0)
            begin, end = cuda.Event(), cuda.Event()
            begin.record()
            function()
            end.record()
            events.append((begin, end))
        end.synchronize()
        return median(cuda.get_elapsed_time(*each) for each in events) / 1e3  # it counts in milliseconds


@cache
def pool_hook():
    """A CuPy memory hook whose ``peak`` is the most bytes that arrays have held at once."""
    cupy = array_library("cuda")

    class Peak(cupy.cuda.MemoryHook):
        name, peak = "peak", 0

        def malloc_postprocess(self, **_):
            self.peak = max(self.peak, cupy.get_default_memory_pool().used_bytes())

    return Peak()


def our_peak(function, device):
    """The most bytes of the GPU that our arrays hold during ``function()``; None on the emulator."""
    if device != "cuda":
        function()
        return None
    hook = pool_hook()
    hook.peak = array_library("cuda").get_default_memory_pool().used_bytes()
    with hook:
        function()
    return hook.peak


def free_memory(device):
    """Give back to the GPU what the pools of CuPy and PyTorch keep for later."""
    if device == "cuda":
        array_library("cuda").get_default_memory_pool().free_all_blocks()
        torch = installed_torch()
        if torch is not None:
            torch.cuda.empty_cache()
