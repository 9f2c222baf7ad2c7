"""How kernels are run, for the length of a ``with`` block: which threads, in which order, checked or not.

The settings are the whole process's: kernels that another Python thread launches follow them too.
"""

from contextlib import contextmanager
from dataclasses import dataclass, replace

FORWARD, REVERSE = 0, 1  # orders of threads; any other number is the seed of a random order


@dataclass(frozen=True)
class Settings:
    """See the context managers below."""

    order: int = FORWARD
    checked: bool = False
    block: tuple | None = None
    thread: tuple | None = None
    turns: list | None = None


_settings = Settings()


def current_settings():
    """The settings that the next launch follows."""
    return _settings


@contextmanager
def _changed(**changes):
    global _settings
    before = _settings
    _settings = replace(before, **changes)
    try:
        yield
    finally:
        _settings = before


def thread_order(order):
    """Within this, threads between two barriers run forward (0), in reverse (1), or in a random order with that seed.

    A GPU promises no order, so a right kernel gives the same result in each.
    """
    return _changed(order=int(order))


def checking():
    """Within this, kernels are compiled anew with a check before every access to memory.

    EmulatorError, with file, line, thread, block and the array's element, is raised for

    - an access outside of every array that the kernel was given, and of every ``__shared__`` one;
    - several numbers read or written at once (``float4``) that do not lie at a multiple of their size;
    - shared memory that is read before it is written, such as by a background copy without its wait;
    - a race: two threads use the same number, one of them to change it, not both atomically, and with no barrier
      between.  ``__syncwarp()`` is a barrier between lanes of a warp; shuffles and tensor cores are none.

    About ten times slower.  Not noticed are an index that leaves a row of an array for the next row, and a race with
    a reader when two other threads have read the same number since.
    """
    return _changed(checked=True)


def only(block=None, thread=None):
    """Within this, of every launch only one block runs, or one thread of each block: indices ``x`` or ``(x, y, z)``.

    A thread alone passes every barrier, and gets NaN (all bits set) from the other lanes of its warp.
    """
    return _changed(block=_triple(block), thread=_triple(thread))


def _triple(index):
    if index is None:
        return None
    index = (index,) if isinstance(index, int) else tuple(index)
    return (*index, 0, 0)[:3]


@contextmanager
def watch():
    """Within this, every turn of every thread is added to the list that this gives: what the emulator did, in order.

    A turn lasts until the thread waits for others or ends; see :class:`Turn`.  For example::

        with emulator.watch() as turns:
            kernel((1,), (64,), (x, y))
        for turn in turns:
            print(turn.block, turn.thread, turn.stop, turn.file, turn.line)
    """
    turns = []
    with _changed(turns=turns):
        yield turns
