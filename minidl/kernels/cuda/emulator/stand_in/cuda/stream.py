"""Streams, events, and recording what a stream is given as a graph.

A kernel runs here when it is launched, so a stream has nothing to wait for.  Only while it *captures* does it keep the
kernels for later: CUDA Runtime API, sections "Stream Management" and "Graph Management".
"""

import itertools
import threading
import time
import weakref

from minidl.kernels.cuda.emulator.stand_in.counts import active
from minidl.kernels.cuda.emulator.stand_in.cuda.errors import CUDARuntimeError

_handles = itertools.count(0x1000)
_capturing = weakref.WeakSet()  # streams


class _Current(threading.local):
    """The streams that this thread has entered; the last is the current one."""

    def __init__(self):
        self.streams = [Stream.null]


class Stream:
    """A queue of kernels; ``with stream:`` makes it the current one of this thread.

    null: the default stream instead of a new one; non_blocking: whether it works beside the default stream.
    """

    null = None  # the default stream; set below

    def __init__(self, null=False, non_blocking=False):
        self.ptr = 0 if null else next(_handles)
        self.is_non_blocking = non_blocking
        self._recorded = None  # while capturing, the launches so far
        self._invalidated = False

    def __enter__(self):
        _current.streams.append(self)
        return self

    def __exit__(self, *exc_info):
        _current.streams.pop()

    def use(self):
        """Make this stream the current one for good."""
        _current.streams[-1] = self
        return self

    def synchronize(self):
        """Wait until all work of this stream is done."""
        self.refuse_while_capturing("synchronize")

    @property
    def done(self):
        """Whether all work of this stream is done."""
        self.refuse_while_capturing("done")
        return True

    def record(self, event=None):
        """Note the present time in ``event``, a new one by default, and return it."""
        event = event or Event()
        event.record(self)
        return event

    def wait_event(self, event):
        """Let work that follows wait for ``event``."""
        self.refuse_while_capturing("wait_event")

    def begin_capture(self, mode=None):
        """From now on record kernels instead of running them.  Whatever waits or copies is refused until the end."""
        if self.ptr == 0:
            raise RuntimeError("cannot capture on the default (legacy) stream")
        if self.is_capturing():
            raise CUDARuntimeError(401, "this stream is capturing already")
        self._recorded, self._invalidated = [], False
        _capturing.add(self)

    def end_capture(self):
        """The :class:`Graph` of all that was recorded."""
        if not self.is_capturing():
            raise CUDARuntimeError(401, "this stream is not capturing")
        recorded, self._recorded = self._recorded, None
        _capturing.discard(self)
        if self._invalidated:
            raise CUDARuntimeError(901)
        return Graph(recorded)

    def is_capturing(self):
        """Whether kernels are being recorded."""
        return self._recorded is not None

    def submit(self, launch):
        """Run a prepared launch, or record it while capturing."""
        if self.is_capturing():
            self._recorded.append(launch)
        else:
            launch.run()

    def refuse_while_capturing(self, what):
        """CUDARuntimeError while this stream captures: CUDA does not allow ``what`` then, and spoils the capture."""
        if self.is_capturing():
            self.invalidate()
            raise CUDARuntimeError(900, what)

    def invalidate(self):
        """Spoil the capture: ``end_capture`` will fail."""
        self._invalidated = True


Stream.null = Stream(null=True)
_current = _Current()


def get_current_stream():
    """The stream on which this thread's kernels run."""
    return _current.streams[-1]


def refuse_while_any_stream_captures(what):
    """CUDARuntimeError while any stream captures, as for a wait for the whole GPU."""
    for stream in tuple(_capturing):
        stream.refuse_while_capturing(what)


class Graph:
    """Kernels that a stream recorded, to be launched together; made by :meth:`Stream.end_capture`."""

    def __init__(self, launches):
        self._launches = launches

    def launch(self, stream=None):
        """Run all kernels on ``stream``, the current one by default, with the arrays and numbers they were given.

        Raises RuntimeError where an array among them has been freed since: CuPy would write into what lies there now.
        """
        (stream or get_current_stream()).refuse_while_capturing("Graph.launch")
        for launch in self._launches:
            launch.check_alive()
        for launch in self._launches:
            launch.run()
        for counts in active():
            counts.graph_launches += 1

    def upload(self, stream=None):
        """Send the graph to the GPU ahead of its first launch."""
        (stream or get_current_stream()).refuse_while_capturing("Graph.upload")


class Event:
    """A moment in a stream's work."""

    def __init__(self, block=False, disable_timing=False):
        self._timed, self._seconds = not disable_timing, None

    def record(self, stream=None):
        """Note that the work so far of ``stream``, the current one by default, is done."""
        (stream or get_current_stream()).refuse_while_capturing("Event.record")
        self._seconds = time.perf_counter()

    def synchronize(self):
        """Wait for the moment."""
        get_current_stream().refuse_while_capturing("Event.synchronize")

    @property
    def done(self):
        """Whether the moment has come."""
        return True

    def milliseconds(self):
        """When it was; CUDARuntimeError for an event without time."""
        if self._seconds is None or not self._timed:
            raise CUDARuntimeError(400, "an event that was never recorded, or without timing")
        return 1000 * self._seconds


def get_elapsed_time(start_event, end_event):
    """Milliseconds from one event to the other."""
    return end_event.milliseconds() - start_event.milliseconds()
