"""Folders for what a command writes: runs/<command>/exp, exp2, exp3, ..."""

import errno
import json
import os
from contextlib import contextmanager
from pathlib import Path

from minidl.serialize import write_atomically
from yolov3.errors import UserError

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def new_run_folder(project, name):
    """Make and return ``project/name``, or the first of ``name2``, ``name3``, ... that does not exist yet.

    After a name that ends in a digit comes a hyphen: ``v2``, ``v2-2``.
    Raises UserError where it cannot be made or written to.
    """
    project = Path(project)
    hyphen = "-" if name[-1:].isdigit() else ""
    number = 1
    while True:
        folder = project / (name if number == 1 else f"{name}{hyphen}{number}")
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            if not project.is_dir():
                raise UserError(f"{project} is a file: choose another folder with --project") from None
            number += 1
            continue
        except (OSError, ValueError) as error:  # the second for what no file system can call a file
            reason = getattr(error, "strerror", None) or error
            raise UserError(f"{folder} cannot be made ({reason}): choose another with --project") from error
        if not os.access(folder, os.W_OK):
            raise UserError(f"{folder} cannot be written to: choose another folder with --project")
        return folder


@contextmanager
def run_folder(project, name):
    """A :func:`new_run_folder` that is removed again if an error leaves nothing in it."""
    folder = new_run_folder(project, name)
    try:
        yield folder
    except BaseException:
        if not any(folder.iterdir()):
            folder.rmdir()
        raise


@contextmanager
def writing(path):
    """Turn a failure to write ``path`` into a UserError that names it."""
    try:
        yield
    except OSError as error:
        advice = "make room there, or choose another folder" if error.errno in FULL else "choose another folder"
        raise UserError(f"{path} cannot be written ({error.strerror or error}): {advice}") from error


def write_file(path, write):
    """Call ``write(file)`` with a binary file that becomes ``path``, whole or not at all.  Raises UserError."""
    with writing(path):
        write_atomically(path, write)


def write_text(path, text):
    """Write a text file in UTF-8, whole or not at all."""
    # A file name that is no UTF-8 reaches us as half a character, which JSON can hold as its escape and UTF-8 cannot.
    content = text.encode(errors="backslashreplace")
    write_file(path, lambda file: file.write(content))


def write_json(path, value):
    """Write ``value`` as JSON, whole or not at all."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False) + "\n")
