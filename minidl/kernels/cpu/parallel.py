"""Work on several cores: NumPy lets go of Python's lock, so plain threads run its loops side by side.

A kernel cuts its work into slices and hands them to :func:`run_parts`.  Which part does which slice is
fixed by shape and number of threads alone, so the same setting gives the same bits every time.

Inside, the matrix product (BLAS) is held to one thread per part: two parts that each start two
BLAS threads on two cores take turns waiting and need twice the time.
"""

import os
import threading
from collections import deque
from contextvars import copy_context
from functools import cache, partial
from itertools import pairwise

import numpy as np

from minidl.kernels.shapes import whole_number


def _default_threads():
    """Cores this process may use, or OMP_NUM_THREADS where it asks for fewer."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    return min(cores, int(wanted)) if wanted.isdigit() and int(wanted) > 0 else cores


_threads = _default_threads()
_scratch = threading.local()


def get_num_threads():
    """Number of threads that kernels use."""
    return _threads


def set_num_threads(count):
    """Let kernels use ``count`` threads (default: all cores, or OMP_NUM_THREADS)."""
    global _threads
    _threads = whole_number(count, "the number of threads", least=1)


class _Worker:
    """A thread that waits for something to do.

    It is woken by a lock and answers by a lock: that takes 50 microseconds in all, a third of what
    ``concurrent.futures`` takes, and a network has a hundred such moments.
    """

    def __init__(self):
        self._begin = threading.Lock()
        self._begin.acquire()
        threading.Thread(target=self._work, name="minidl", daemon=True).start()

    def start(self, function, part):
        """Let it call ``function(part)``, with the caller's ``np.errstate``."""
        self._outcome, self._end = None, threading.Lock()
        self._end.acquire()
        self._task = copy_context(), function, part, self._end
        self._begin.release()

    def wait(self):
        """What the call returned.  Raises what it raised; Ctrl-C is raised when the call has ended, too."""
        interrupt = None
        while self._outcome is None:  # Ctrl-C may come before or after the lock has been got: the lock cannot tell
            try:
                self._end.acquire()
            except KeyboardInterrupt as pressed:
                interrupt = pressed
        result, error, self._outcome = *self._outcome, None
        if interrupt or error:
            raise interrupt or error
        return result

    def _work(self):
        while True:
            self._begin.acquire()
            (context, function, part, end), self._task = self._task, None
            try:
                outcome = context.run(function, part), None
            except BaseException as error:  # whatever it is, it belongs to the caller
                outcome = None, error
            context = function = part = None  # what the caller lets go of shall not live on here
            self._outcome, outcome = outcome, None  # from now on the caller may give the next task
            end.release()


def _idle_worker():
    try:
        return _idle_workers.pop()
    except IndexError:
        return _Worker()


_idle_workers = deque()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_idle_workers.clear)  # threads do not live on in a copy of the process


@cache
def _blas_libraries():
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController().select(user_api="blas").lib_controllers


def _set_blas_threads(library, count):
    """Set the number from any thread.

    threadpoolctl obeys only the thread that first set it and silently ignores all others, so that they do not
    fight.  Ours take turns by a lock; forgetting who was first, before and after, lets each of them through.
    """
    forget = getattr(library, "clear_controlling_thread", None)  # OpenBLAS alone, from threadpoolctl 3.8 on
    if forget:
        forget(force=True)
    library.set_num_threads(count)
    if forget:
        forget(force=True)


class _OneBlasThread:
    """A region in which BLAS uses one thread; regions of several Python threads may overlap, and may be nested.

    Kernels that work on parts side by side enter it.  Entering costs 15 microseconds, but next to nothing inside
    another such region, so put one around a whole training step of a small network.
    """

    def __init__(self):
        self._lock = threading.Lock()
        self._inside = 0
        self._before = []

    def __enter__(self):
        with self._lock:
            if self._inside == 0:
                self._before = [library.get_num_threads() for library in _blas_libraries()]
                for library in _blas_libraries():
                    _set_blas_threads(library, 1)
            self._inside += 1

    def __exit__(self, *exc_info):
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                for library, threads in zip(_blas_libraries(), self._before, strict=True):
                    _set_blas_threads(library, threads)


one_blas_thread = _OneBlasThread()


def run_parts(function, parts):
    """``[function(part) for part in parts]``, side by side; the caller's thread does the first.

    What the caller set with ``np.errstate`` holds in every part.  An error in one part is raised when all have ended,
    so that none goes on writing behind the caller's back.
    """
    with one_blas_thread:
        if len(parts) == 1:
            return [function(parts[0])]
        others = [_idle_worker() for _ in parts[1:]]
        for worker, part in zip(others, parts[1:], strict=True):
            worker.start(function, part)
        results, errors = [], []
        for call in (partial(function, parts[0]), *(worker.wait for worker in others)):
            try:
                results.append(call())
            except BaseException as error:
                errors.append(error)
        _idle_workers.extend(others)
        if errors:
            raise errors[0]
        return results


def split_evenly(items, work, work_per_thread=1 << 16):
    """Cut a sequence into one run per thread, fewer where the ``work`` (in numbers touched) is small.

    Starting a part costs about 20 microseconds: as long as it takes to touch some 65,000 numbers.
    """
    count = max(1, min(_threads, len(items), work // work_per_thread))
    edges = [len(items) * part // count for part in range(count + 1)]
    return [items[start:stop] for start, stop in pairwise(edges)]


def scratch(name, size, dtype):
    """An uninitialised vector of ``size`` numbers that this thread uses again and again.

    Fresh memory of some megabytes costs as much as filling it (the system maps it page by page);
    a buffer that stays is already there, and in the cache.
    """
    buffers = _scratch.__dict__.setdefault("buffers", {})
    key = (name, np.dtype(dtype))
    if key not in buffers or buffers[key].size < size:
        buffers[key] = np.empty(size, dtype)
    return buffers[key][:size]
