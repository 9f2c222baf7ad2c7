"""A limit on memory for a part of a test: whoever believes a forged file fails."""

import resource
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.yolov3.refusals import refusal_of

LITTLE = 400  # MB


@contextmanager
def at_most(megabytes):
    """Let the body take no more than so much memory on top of what the process has: MemoryError else.  Linux only."""
    status = Path("/proc/self/statm")
    if not status.is_file():
        pytest.skip("how much memory a process has is only known on Linux")
    now = int(status.read_text().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (now + megabytes * 2**20, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def cheap_refusal(read, path):
    """The sentence with which a file is refused while there is little memory."""
    with at_most(LITTLE):
        return refusal_of(read, path)


def put(folder, files):
    """Write ``{path: content}`` into a folder, which is returned."""
    for path, content in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    return folder
