"""What a parser may not do, whatever it is given: run code, write elsewhere, take long or fill the memory."""

import os
import resource
import signal
import sys
import time
from contextlib import contextmanager

SECONDS = 30  # far above what a busy machine needs, also for the largest picture that is read
MEGABYTES = 1000  # by which one input may raise the most memory that the process ever had

RUNS_CODE = (
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "os.fork",
    "subprocess.Popen",
    "pickle.find_class",
    "ctypes.dlopen",
)
NETWORK = ("socket.connect", "socket.getaddrinfo", "urllib.Request")
CHANGES_FILES = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.symlink", "os.link", "os.truncate", "os.chmod")
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND

_watched = None  # the folder that may be written to while a parser is watched
_seen = []


class Misbehaved(BaseException):
    """What a parser did; no handler of a parser catches it."""


def _watch(event, arguments):
    if _watched is None:
        return
    if event in RUNS_CODE or event in NETWORK:
        _seen.append(f"{event} {str(arguments)[:200]}")
        raise Misbehaved(event)
    if event == "exec" and not os.path.exists(arguments[0].co_filename) and "frozen" not in arguments[0].co_filename:
        _seen.append(f"exec of {arguments[0]}")
        raise Misbehaved(event)
    writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & WRITING
    changes = event in CHANGES_FILES and arguments[-1] == -1  # else relative to a folder, of which rmtree tells
    if (writes or changes or event == "shutil.rmtree") and isinstance(arguments[0], str | bytes | os.PathLike):
        path = os.fsdecode(os.path.realpath(os.fspath(arguments[0])))
        if not path.startswith(_watched) and path != os.devnull:
            _seen.append(f"{event} {path[:200]}")
            raise Misbehaved(event)


def _too_long(*_):
    raise Misbehaved(f"took longer than {SECONDS} seconds")


sys.addaudithook(_watch)


@contextmanager
def guarded(folder):
    """Run the body watched; Misbehaved if it does what it may not.  Only ``folder`` may be written to."""
    global _watched
    _seen.clear()
    peak, start = peak_megabytes(), time.monotonic()
    handler = signal.signal(signal.SIGALRM, _too_long)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    _watched = os.path.realpath(folder)
    try:
        yield
    finally:
        _watched = None
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)
        if _seen:
            raise Misbehaved(_seen[0])
        if (grown := peak_megabytes() - peak) > MEGABYTES:
            raise Misbehaved(f"took {grown:.0f} MB of memory")
        if (seconds := time.monotonic() - start) > SECONDS:
            raise Misbehaved(f"took {seconds:.1f} seconds")


def peak_megabytes():
    """The most memory that this process has had so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
