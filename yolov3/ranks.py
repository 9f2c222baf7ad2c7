"""One training in several processes, started by ``mpiexec -n N yolov3 train ...``: each is a *rank*.

What they compute together is in :mod:`minidl.collective`.  Here is the rest: to find each other, to share a computer's
cores, and to end all when one fails (:mod:`yolov3.lookout`).
"""

import json
import os
import secrets
import shlex
import socket
import subprocess
import sys
import threading
import time
import traceback
from contextlib import contextmanager, suppress

from minidl.device import DeviceError
from yolov3 import lookout
from yolov3.errors import UserError, in_words
from yolov3.launchers import GRACE, launched


@contextmanager
def joined(device):
    """Within, this process is one of those that ``mpiexec`` has started, or alone where it has not been used.

    Gives ``(group, watch)``: a :class:`minidl.collective.Group` that computes on ``device``, and a :class:`Watch`.
    Whatever is raised within, in any rank, ends all ranks, and is printed once.  Raises UserError where mpi4py is
    missing or belongs to another MPI than ``mpiexec``.
    """
    from minidl.collective import ALONE, MpiGroup

    if launched()[1] == 1:
        watch = NotWatched()
        try:
            yield ALONE, watch
        except BaseException as error:
            watch.report(error)
            raise
        return
    world = _world()
    try:
        watch = Watch(world)
    except OSError as error:  # without it nobody would notice a failure; MPI ends all ranks
        print(
            f"yolov3 train: rank {world.rank} cannot reach rank 0's computer: {error}", file=sys.__stderr__, flush=True
        )
        world.Abort(1)
    try:
        group = MpiGroup(world, device)
        share_cores(group)
        yield group, watch
        group.wait()  # nobody ends while another may still fail
    except BaseException as error:
        watch.report(error)
    watch.finished()
    _mpi().Finalize()  # all have come here, so none waits


def _mpi():
    """The module of mpi4py, which starts nothing by itself: an MPI under another's mpiexec may end the process."""
    import mpi4py

    mpi4py.rc.initialize = mpi4py.rc.finalize = False
    from mpi4py import MPI

    return MPI


def _world():
    """MPI's communicator of all processes."""
    size = launched()[1]
    try:
        MPI = _mpi()
    except (ImportError, RuntimeError) as error:  # RuntimeError: it finds no MPI to load
        raise UserError(
            f"{size} processes were started, which need mpi4py to work together ({error}): "
            "pip install 'yolov3-from-scratch[mpi]', or leave out mpiexec"
        ) from error
    library = MPI.Get_library_version().split("\n")[0].strip(" \0")
    fits = library.startswith("Open MPI") or "OMPI_COMM_WORLD_SIZE" not in os.environ
    if fits and not MPI.Is_initialized():
        MPI.Init_thread()
    if not fits or MPI.COMM_WORLD.size != size:
        raise UserError(
            f"{size} processes were started by the mpiexec of another MPI than mpi4py has loaded, {library}: "
            "take the mpiexec that pip installed beside python"
        )
    return MPI.COMM_WORLD


def share_cores(group):
    """Let all ranks on a computer together use as many threads as it has cores.

    Where the launcher has bound each rank to cores of its own, these are what it uses.
    """
    from threadpoolctl import threadpool_limits

    from minidl import get_num_threads, set_num_threads

    own = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)
    all_cores = set().union(*group.gather_local(set(own)))
    threads = max(1, min(get_num_threads(), len(all_cores) // group.local_size))
    set_num_threads(threads)
    threadpool_limits(threads, user_api="blas")


class NotWatched:
    """The :class:`Watch` of a process that is alone."""

    def __init__(self):
        self._folder = None

    def results_in(self, folder):
        """From now on a checkpoint may be in this folder (a Path)."""
        self._folder = folder

    def report(self, error):
        """Add to the error how to go on, if one can."""
        if self._folder is not None and (self._folder / "last.npz").exists() and _may_resume(error):
            command = shlex.join(["yolov3", "train", "--resume", str(self._folder)])
            error.add_note(f"go on from the last checkpoint with: {command}")


def _may_resume(error):
    """Whether what ended a run came from outside it, such as a full disk, so that it can go on as it was."""
    return not isinstance(error, UserError | DeviceError) or isinstance(error.__cause__, OSError)


class Watch:
    """This rank's connection to the lookout, which rank 0 starts.  ``world``: MPI's communicator."""

    def __init__(self, world):
        self.rank, self.size = world.rank, world.size
        self._finished = False
        hosts = world.allgather(socket.gethostname())
        listen_at = "" if len(set(hosts)) > 1 else "127.0.0.1"
        port, token = world.bcast(self._start(listen_at) if self.rank == 0 else None)
        address = "127.0.0.1" if hosts[0] == hosts[self.rank] else hosts[0]
        self._connection = socket.create_connection((address, port), lookout.PATIENCE)
        self._connection.settimeout(None)
        lookout.keep_alive(self._connection)
        self._send(token=token, rank=self.rank, process=f"{os.getpid()} on {socket.gethostname()}")
        threading.Thread(target=self._obey, name="lookout", daemon=True).start()

    def _start(self, listen_at):
        """Start the lookout, in a session of its own: what ends the ranks shall not end it.  Its port and token."""
        token = secrets.token_hex()
        command = [sys.executable, lookout.__file__, str(self.size), listen_at]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        process = subprocess.Popen(command, **pipes, start_new_session=True)
        with process.stdin, process.stdout:
            print(token, file=process.stdin, flush=True)
            return int(process.stdout.readline()), token

    def results_in(self, folder):
        """From now on a checkpoint may be in this folder (a Path)."""
        if self.rank == 0:
            command = shlex.join(["mpiexec", "-n", str(self.size), "yolov3", "train", "--resume", str(folder)])
            self._send(checkpoint=str(folder / "last.npz"), resume=command)

    def report(self, error):
        """Have the lookout say what went wrong, and end this process as all others."""
        words = in_words("train", error)
        if words is None:
            text, code = "".join(traceback.format_exception(error)).rstrip(), 1
            if type(error).__module__.startswith("mpi4py"):
                time.sleep(1)  # most likely because another rank has ended, which says more about it
        else:
            text, code = words[0].lstrip("\n"), words[1]
        if self.rank > 0:
            time.sleep(0.5)  # where all fail alike, rank 0 knows most
        self._send(failed=text, code=code, may_resume=_may_resume(error))
        time.sleep(GRACE)  # meanwhile the answer ends this process
        os._exit(code)

    def finished(self):
        """From now on this process may end."""
        self._finished = True
        self._send(finished=True)

    def _send(self, **message):
        with suppress(OSError):  # the lookout may be gone, which ends this process
            self._connection.sendall(json.dumps(message).encode() + b"\n")

    def _obey(self):
        """Wait for the order to end, whatever else this process is doing.  MPI cannot be ended in good order then."""
        try:
            order = self._connection.makefile().readline()
        except OSError:
            order = ""
        if self._finished and not order:
            return
        if not order and self.rank == 0:
            print("yolov3 train: the process that watches this run has ended, so it stops, too", file=sys.__stderr__)
        os._exit(int(order or 1))
