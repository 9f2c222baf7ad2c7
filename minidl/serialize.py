"""Arrays and settings in one ``.npz`` file that never executes code.

NumPy can store Python objects by pickle, and loading a pickle runs whatever it says.  Here nothing is pickled: settings
travel as JSON text, and reading refuses pickles.
"""

import json
import os
import tempfile
import zipfile
from pathlib import Path

import numpy as np

from minidl.device import to_cpu

SETTINGS = "settings.json"


class FileFormatError(ValueError):
    """A file is not what it should be; the message names it and says why."""


def write_atomically(path, write):
    """Call ``write(file)`` with a temporary file beside ``path``, then rename it.

    Whoever looks at ``path`` finds the old content or the new, never half of it; on failure the temporary file is gone.
    """
    path = Path(path)
    # A short name of its own: the file's name with something added may be too long.
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".writing-", suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        _allow_reading(temporary)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _allow_reading(path):
    """Temporary files are private; give the file the permissions a new file would have had."""
    mask = os.umask(0)
    os.umask(mask)
    os.chmod(path, 0o666 & ~mask)


def save(path, arrays, settings=None):
    """Write ``{name: array}`` and JSON-serialisable ``settings`` to ``path``, atomically and uncompressed.

    Arrays may lie on any device; the file is the same.
    """
    text = np.frombuffer(json.dumps(settings or {}).encode(), np.uint8)

    def write(file):  # what numpy.savez does, but for any name, and with no way to pickle in any version of NumPy
        with zipfile.ZipFile(file, "w") as archive:
            for name, array in {SETTINGS: text, **arrays}.items():
                with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                    np.lib.format.write_array(member, np.asarray(to_cpu(array)), allow_pickle=False)

    write_atomically(path, write)


def load(path):
    """Read ``(arrays, settings)`` as written by :func:`save`.

    Raises FileNotFoundError, IsADirectoryError, or FileFormatError where the file is damaged or of another kind.
    """
    if os.path.isdir(path):  # what opening a folder raises differs from system to system
        raise IsADirectoryError(f"{path} is a folder")
    try:
        file = np.load(path, allow_pickle=False)
        if not isinstance(file, np.lib.npyio.NpzFile):
            raise FileFormatError(f"{path} is not a checkpoint of this program")
        with file:
            if SETTINGS not in file:
                raise FileFormatError(f"{path} is not a checkpoint of this program")
            arrays = {name: file[name] for name in file.files if name != SETTINGS}
            settings = json.loads(file[SETTINGS].tobytes())
    except (FileNotFoundError, FileFormatError):
        raise
    except Exception as error:  # one flipped byte makes zipfile and NumPy raise nearly anything
        raise FileFormatError(f"{path} is damaged or not a checkpoint of this program ({error})") from error
    return arrays, settings
