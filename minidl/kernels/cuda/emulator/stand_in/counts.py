"""Counting what costs time on a real GPU: copies to and from it, kernel launches, memory."""

from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple


class Copy(NamedTuple):
    """A copy between the computer's memory and the GPU's: which call made it, and its size."""

    reason: str
    bytes: int


class Launch(NamedTuple):
    """A kernel that was started: blocks in the grid and threads in a block, as they were given."""

    kernel: str
    grid: tuple
    block: tuple


@dataclass
class Counts:
    """What happened, on all threads, since counting began.

    Attributes
    ----------
    to_host: a :class:`Copy` per copy from the GPU.  The program waits there for all kernels before it, so waits in
        disguise are listed too: ``bool()`` of an array, a mask as an index.
    to_device: a :class:`Copy` per copy to the GPU.
    launches: a :class:`Launch` per kernel that was started or recorded; replaying a graph adds none.
    graph_launches: how many graphs were replayed.
    allocations: how many arrays received memory of their own.
    peak_bytes: the most memory in use at one time, with what was in use before; 0 without allocations.
    """

    to_host: list = field(default_factory=list)
    to_device: list = field(default_factory=list)
    launches: list = field(default_factory=list)
    graph_launches: int = 0
    allocations: int = 0
    peak_bytes: int = 0

    @property
    def to_host_bytes(self):
        """Bytes copied from the GPU."""
        return sum(copy.bytes for copy in self.to_host)

    @property
    def to_device_bytes(self):
        """Bytes copied to the GPU."""
        return sum(copy.bytes for copy in self.to_device)


_active = []


@contextmanager
def count():
    """``with count() as counts:`` fills ``counts``, a :class:`Counts`, with what happens inside."""
    counts = Counts()
    _active.append(counts)
    try:
        yield counts
    finally:
        _active[:] = [each for each in _active if each is not counts]


def active():
    """The counts that are being filled just now."""
    return tuple(_active)
