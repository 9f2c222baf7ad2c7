"""The stand-in GPU's memory: buffers between guards, a pool that counts them, and a limit.

Fresh memory holds the bytes 0xFF, which are NaN in every floating-point type: what a program reads before it has
written it shows.  In front of and behind every buffer lie guard bytes; they must still be whole after each kernel.
"""

import ctypes
import threading
import weakref
from contextlib import contextmanager

import numpy as np

from minidl.kernels.cuda.emulator import SANITIZER
from minidl.kernels.cuda.emulator.stand_in.counts import active

ALIGNMENT = 256  # bytes; that of cudaMalloc
ROUNDING = 512  # bytes; CuPy's pool hands out multiples of it
GUARD_SIZE = 4096  # bytes on either side
GUARD, FRESH = 0xA5, 0xFF
CAPACITY = 8 << 30  # bytes of the stand-in GPU

# AddressSanitizer watches the guards itself, and names the line at fault.
_SANITIZED = SANITIZER == "address"


class OutOfMemoryError(MemoryError):
    """The GPU's memory, or the limit set for it, does not suffice; CuPy's parameters and message, in bytes."""

    def __init__(self, size, total, limit=0):
        allowed = f", limit set to: {limit:,} bytes" if limit else ""
        super().__init__(f"Out of memory allocating {size:,} bytes (allocated so far: {total:,} bytes{allowed}).")


class MemoryPool:
    """How much memory is in use, and how much may be; the part of CuPy's class that programs look at."""

    def __init__(self):
        self._lock = threading.RLock()  # a garbage collection inside may free memory
        self._used = self._held = self._limit = 0

    def used_bytes(self):
        """Bytes in use by arrays that are alive."""
        return self._used

    def total_bytes(self):
        """Bytes taken from the GPU: in use, or kept for the next array."""
        return self._held

    def free_all_blocks(self):
        """Give back what is kept."""
        self._held = self._used

    def set_limit(self, size=0):
        """Allow ``size`` bytes at most; 0 for all of the GPU."""
        self._limit = size

    def get_limit(self):
        """The most bytes allowed; 0 for all of the GPU."""
        return self._limit

    def take(self, size):
        """Count ``size`` bytes as used; OutOfMemoryError where there are not so many."""
        with self._lock:
            limit = self._limit or CAPACITY
            if self._used + size > limit:
                raise OutOfMemoryError(size, self._used, self._limit)
            self._used += size
            self._held = max(self._held, self._used)
            for counts in active():
                counts.allocations += 1
                counts.peak_bytes = max(counts.peak_bytes, self._used)

    def give_back(self, size):
        """Count ``size`` bytes as free again."""
        with self._lock:
            self._used -= size


pool = MemoryPool()


@contextmanager
def memory_limit(size):
    """Inside ``with memory_limit(size):`` all arrays together may take ``size`` bytes, as on a GPU so small."""
    before = pool.get_limit()
    pool.set_limit(size)
    try:
        yield
    finally:
        pool.set_limit(before)


class Memory:
    """A guarded buffer of ``size`` bytes; it lives as long as some array lies in it.

    buffer: all bytes, guards included, as a NumPy array; start: where the memory proper begins in it.
    """

    def __init__(self, size):
        self.size = size
        self._counted = -(-size // ROUNDING) * ROUNDING
        pool.take(self._counted)
        self.buffer = np.full(size + 2 * GUARD_SIZE + ALIGNMENT, GUARD, np.uint8)
        self.start = GUARD_SIZE + -(self.buffer.ctypes.data + GUARD_SIZE) % ALIGNMENT
        self.buffer[self.start : self.start + size] = FRESH
        self._poison("__asan_poison_memory_region")
        _alive.add(self)

    def __del__(self):
        # Without a start there was not enough memory; without a pool Python is about to end.
        if hasattr(self, "start") and pool is not None:
            self._poison("__asan_unpoison_memory_region")
            pool.give_back(self._counted)

    @property
    def address(self):
        """Where the memory proper begins."""
        return self.buffer.ctypes.data + self.start

    def array(self, shape, dtype):
        """The buffer's content as a NumPy array."""
        return self.buffer[self.start : self.start + self.size].view(dtype).reshape(shape)

    def guards_are_whole(self):
        """Whether all guard bytes are as they were."""
        return _SANITIZED or all((guard == GUARD).all() for guard in self._guards())

    def _guards(self):
        return self.buffer[: self.start], self.buffer[self.start + self.size :]

    def _poison(self, function):
        if _SANITIZED:
            for guard in self._guards():
                getattr(ctypes.CDLL(None), function)(ctypes.c_void_p(guard.ctypes.data), ctypes.c_size_t(guard.size))


_alive = weakref.WeakSet()  # every Memory


def bytes_at(address, size):
    """The ``size`` bytes at an address, as a NumPy array.  Raises ValueError where they are not all one array's."""
    for memory in tuple(_alive):
        begin = address - memory.address
        if begin >= 0 and begin + size <= memory.size:
            return memory.buffer[memory.start + begin : memory.start + begin + size]
    raise ValueError(f"no array of the GPU has {size} bytes at address {address:#x}")


class MemoryPointer:
    """A place in GPU memory, an array's ``data``: ``ptr`` is its address, ``mem`` the memory it lies in."""

    def __init__(self, memory, address):
        self.mem, self.ptr = memory, address
