"""Arrays and settings in one ``.npz`` file that never executes code.

NumPy can store Python objects by pickle, and loading a pickle runs whatever it says.  Here nothing is pickled: settings
travel as JSON text, and reading refuses pickles.
"""

import json
import math
import os
import tempfile
import zipfile
from contextlib import suppress
from pathlib import Path

import numpy as np

from minidl.device import to_cpu

SETTINGS = "settings.json"


class FileFormatError(ValueError):
    """A file is not what it should be; the message names it and says why."""


TEMPORARY = (".writing-", ".tmp")  # how the names of unfinished files begin and end


def write_atomically(path, write, keep=None):
    """Call ``write(file)`` with a temporary file beside ``path``, then rename it.

    Whoever looks at ``path`` finds the old content or the new, never half of it, even if the process is killed or the
    machine loses power; on failure the temporary file is gone.  A killed process leaves it: :func:`remove_unfinished`.
    ``keep``: where the old content shall be found from then on, a path in the same folder; None for nowhere.
    """
    path = Path(path)
    # A short name of its own: the file's name with something added may be too long.
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=TEMPORARY[0], suffix=TEMPORARY[1])
    try:
        with os.fdopen(handle, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        _allow_reading(temporary)
        if keep is not None and path.exists():
            _keep(path, keep)
        os.replace(temporary, path)
        _write_names(path.parent)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def remove_unfinished(folder):
    """Remove what processes that were killed while writing have left in a folder.  Nobody may be writing there."""
    begin, end = TEMPORARY
    for path in Path(folder).glob(f"{begin}*{end}"):
        path.unlink(missing_ok=True)


def _keep(path, kept):
    """Make ``kept`` a second name of the file ``path``, in place of what had that name."""
    begin, end = TEMPORARY
    second_name = path.with_name(f"{begin}kept{end}")
    second_name.unlink(missing_ok=True)
    try:
        os.link(path, second_name)
    except OSError:  # not every file system gives a file two names; for a moment there is then no file ``path``
        os.replace(path, kept)
    else:
        os.replace(second_name, kept)
        second_name.unlink(missing_ok=True)  # where both were names of one file already, POSIX renames nothing


def _write_names(folder):
    """Have the names in a folder written to the disk, where the system can: a rename alone may not survive a crash."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # not every file system can
            os.fsync(handle)
    finally:
        os.close(handle)


def _allow_reading(path):
    """Temporary files are private; give the file the permissions a new file would have had."""
    mask = os.umask(0)
    os.umask(mask)
    os.chmod(path, 0o666 & ~mask)


def save(path, arrays, settings=None, keep=None):
    """Write ``{name: array}`` and JSON-serialisable ``settings`` to ``path``, atomically and uncompressed.

    Arrays may lie on any device; the file is the same.  ``keep``: as for :func:`write_atomically`.
    """
    text = np.frombuffer(json.dumps(settings or {}).encode(), np.uint8)

    def write(file):  # what numpy.savez does, but for any name, and with no way to pickle in any version of NumPy
        with zipfile.ZipFile(file, "w") as archive:
            for name, array in {SETTINGS: text, **arrays}.items():
                with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                    np.lib.format.write_array(member, np.asarray(to_cpu(array)), allow_pickle=False)

    write_atomically(path, write, keep)


def load(path):
    """Read ``(arrays, settings)`` as written by :func:`save`.

    A file takes no more memory than twice its own length: it is not packed, and no header is believed that claims more
    numbers than follow it.  Raises FileNotFoundError, IsADirectoryError, or FileFormatError where the file is damaged
    or of another kind.
    """
    if os.path.isdir(path):  # what opening a folder raises differs from system to system
        raise IsADirectoryError(f"{path} is a folder")
    if os.path.exists(path) and not os.path.isfile(path):
        raise FileFormatError(f"{path} is no file, and so not a checkpoint of this program")
    try:
        with zipfile.ZipFile(path) as archive:
            members = {member.filename.removesuffix(".npy"): member for member in archive.infolist()}
            if SETTINGS not in members:
                raise FileFormatError(f"{path} is not a checkpoint of this program")
            _check_sizes(archive, os.path.getsize(path))
            arrays = {name: _read_array(archive, member) for name, member in members.items()}
        settings = json.loads(arrays.pop(SETTINGS).tobytes())
    except (FileNotFoundError, FileFormatError):
        raise
    except Exception as error:  # one flipped byte makes zipfile and NumPy raise nearly anything
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise FileFormatError(f"{path} is damaged or not a checkpoint of this program ({reason})") from error
    return arrays, settings


def _check_sizes(archive, length):
    """ValueError for an archive whose members are packed or share their bytes: ten megabytes could be ten gigabytes."""
    members = archive.infolist()
    if any(member.compress_type != zipfile.ZIP_STORED for member in members):
        raise ValueError("its arrays are packed, which those of a checkpoint are not")
    if sum(member.file_size for member in members) > length:
        raise ValueError("its arrays are larger than the file")


def _read_array(archive, member):
    """One array.  ValueError unless its header fits what follows it, to the byte."""
    with archive.open(member) as file:
        try:
            np.lib.format.read_magic(file)  # what is written here needs no other version than 1.0
            shape, _, dtype = np.lib.format.read_array_header_1_0(file)
        except ValueError as error:
            raise ValueError(f"{member.filename}: {error}") from error
        claimed = file.tell() + math.prod(shape) * dtype.itemsize
    if dtype.hasobject or any(side < 0 for side in shape) or claimed != member.file_size:
        raise ValueError(f"{member.filename} claims to be {dtype.name} {shape}, which its bytes are not")
    with archive.open(member) as file:
        return np.lib.format.read_array(file, allow_pickle=False)
