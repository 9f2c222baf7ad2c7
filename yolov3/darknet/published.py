"""The published weights: where they are, how to know them, and fetching them.

One file of the detectors serves all input sizes (spec 12): 320, 416 and 608 pixels are a matter of the cfg alone.
"""

import hashlib
import os
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from yolov3.errors import UserError
from yolov3.fetch import fetch
from yolov3.runs import writing

MIRROR = "https://github.com/hank-ai/darknet/releases/download/v2.0/"
AUTHOR = "https://pjreddie.com/media/files/"  # answers with a web page at times


@dataclass(frozen=True)
class PublishedFile:
    """A file of weights: its name, the sizes it may have, its checksums in hexadecimal, and where it can be had."""

    file: str
    sizes: tuple  # bytes; of yolov2.weights two are told, with 16 and with 20 bytes of header
    places: tuple  # addresses, tried in this order
    cfg: str | None  # name of the cfg that belongs to it; None for a part of a network
    md5: str | None = None
    sha1: str | None = None


def _on_both(file, sizes, cfg, **checksums):
    return PublishedFile(file, sizes, (MIRROR + file, AUTHOR + file), cfg, **checksums)


PUBLISHED = {
    "yolov3": _on_both(
        "yolov3.weights",
        (248_007_048,),
        "yolov3",
        md5="c84e5b99d0e52cd466ae710cadf6d84c",
        sha1="520878f12e97cf820529daea502acca380f1cb8e",
    ),
    "yolov3-tiny": _on_both(
        "yolov3-tiny.weights",
        (35_434_956,),
        "yolov3-tiny-published",  # trained with mask 1,2,3 in the second layer; the cfg was changed later (spec 12)
        md5="3bcd6b390912c18924b46b26a9e7ff53",
    ),
    "yolov2": _on_both(
        "yolov2.weights",
        (203_934_260, 203_934_264),
        "yolov2",
        md5="70d89ba2e180739a1c700a9ff238e354",
    ),
    "darknet53.conv.74": PublishedFile(
        "darknet53.conv.74",
        (162_482_580,),
        (AUTHOR + "darknet53.conv.74",),
        cfg=None,
    ),
}


def fetch_weights(name, folder="weights", places=None, timeout=30):
    """The path of the published weights ``name`` (a name in :data:`PUBLISHED`) in ``folder``, fetched if need be.

    A file that is there with the published size and checksums is used without the network.  Otherwise the places are
    tried in order: the bytes go to ``<file>.part``, are checked, and only the right file gets its name.  A ``.part``
    of a connection that broke off is gone on with, by the next place or the next call; what is wrong is removed.
    Where no checksum is known, only the size is checked, and a line on stderr says so.

    - ``places``: addresses in place of the published ones;
    - ``timeout``: seconds without any answer after which a server counts as gone.

    UserError for an unknown name; a file of that name that is another one, which is never touched; a folder that cannot
    be written or has no room; another process that is fetching the same file; and, with what each place said, when
    none has the file.
    """
    if name not in PUBLISHED:
        raise UserError(f"there are no published weights {name!r}: choose one of {', '.join(PUBLISHED)}")
    published = PUBLISHED[name]
    target = Path(folder) / published.file
    if not _is_there(published, target):
        with writing(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            with _only_process(target):
                if not _is_there(published, target):  # another process may just have finished
                    _fetch_to(target, published, places or published.places, timeout)
    if published.md5 is None:
        print(f"{target}: no checksum is published for it, only its size was checked", file=sys.stderr)
    return target


def identify(path):
    """The name in :data:`PUBLISHED` of a local file, known by its size and its md5; None if it is none of them.

    A file without a published md5 is never recognised: many a network's file has the same size.  UserError if ``path``
    cannot be read.
    """
    try:
        for name, published in PUBLISHED.items():
            if published.md5 is not None and _problem(published, Path(path)) is None:
                return name
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror or error})") from error
    return None


def _is_there(published, target):
    """Whether the published file is there; UserError if something else has its name."""
    try:
        problem = _problem(published, target)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise UserError(f"{target} cannot be read ({error.strerror or error}): move it away and try again") from error
    if problem:
        raise UserError(f"{target} is not the published file, it {problem}: move it away and try again")
    return True


def _problem(published, path):
    """What is wrong with the file at ``path``, or None."""
    size = path.stat().st_size
    if size not in published.sizes:
        return f"has {size} bytes instead of {' or '.join(map(str, published.sizes))}"
    for algorithm, right in (("md5", published.md5), ("sha1", published.sha1)):
        if right is not None:
            with open(path, "rb") as file:
                digest = hashlib.file_digest(file, algorithm).hexdigest()
            if digest != right:
                return f"has the {algorithm} {digest} instead of {right}"
    return None


def _fetch_to(target, published, places, timeout):
    """Put the file at ``target`` from the first place that has it; UserError with what each said if none has."""
    part, said = target.with_name(target.name + ".part"), []
    try:
        for url in places:
            try:
                _fetch_part(url, part, published, timeout)
                part.replace(target)
                return
            except UserError as error:
                said.append(str(error))
    except OSError:
        part.unlink(missing_ok=True)  # a full disk gets its room back
        raise
    kept = f"; {part} keeps what came, and the next try goes on from there" if part.exists() else ""
    raise UserError(f"{published.file} could not be fetched: {'; '.join(said)}{kept}")


def _fetch_part(url, part, published, timeout):
    """Complete ``part`` from one place.  UserError if it does not become the published file; it is then removed."""
    if part.exists() and part.stat().st_size >= min(published.sizes):  # a process ended just before the last step
        if _problem(published, part) is None:
            return
        part.unlink()
    kept = fetch(url, part, max(published.sizes), "weights file", timeout=timeout, resume=True)
    if problem := _problem(published, part):
        part.unlink()
        if kept == 0:
            raise UserError(f"{url} does not send the published file: what came {problem}")
        # Whether the old bytes or the new ones are wrong cannot be told: once more, all from here.
        _fetch_part(url, part, published, timeout)


@contextmanager
def _only_process(target):
    """Let one process at a time fetch ``target``; UserError in the others.

    The lock is the system's, on a file beside the target, and so ends with the process however that ends.
    """
    try:
        import fcntl
    except ImportError:  # Windows, which itself refuses to rename or remove a file that another process writes
        yield
        return
    path = target.with_name(target.name + ".lock")
    busy = f"{target} is being fetched by another process: wait until it has finished"
    with open(path, "wb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(busy) from None
        if os.fstat(lock.fileno()).st_nlink == 0:  # its last holder removed it after it was opened here
            raise UserError(busy)
        try:
            yield
        finally:
            path.unlink(missing_ok=True)
