"""Fixtures that every test may use."""

from pathlib import Path

import pytest

from minidl.device import DeviceError, resolve_device

PROJECT = Path(__file__).resolve().parent.parent
DEVICES = ("cpu", "cuda", "emulated")


def device_problem(name):
    """Why tests cannot run on the device ``name`` here; None where they can."""
    try:
        resolve_device(name)
    except DeviceError as error:
        return str(error)
    return None


def pytest_terminal_summary(terminalreporter):
    """Which devices the tests of this run cover, and which they leave out and why."""
    terminalreporter.section("devices")
    for name in DEVICES:
        problem = device_problem(name)
        terminalreporter.line(f"{name}: tested" if problem is None else f"{name}: not tested, {problem}")


@pytest.fixture(params=[name for name in DEVICES if device_problem(name) is None])
def device(request):
    """Each device that can be used here, one after the other; the summary at the end names the others."""
    return request.param


@pytest.fixture(scope="session")
def shared():
    """The folder ../shared with real data and golden numbers; a test that needs it skips where it is absent."""
    folder = PROJECT.parent / "shared"
    if not folder.is_dir():
        pytest.skip("needs the folder ../shared beside the project, which is absent")
    return folder


@pytest.fixture(scope="session")
def golden():
    """The compact golden numbers that are part of the project."""
    return PROJECT / "tests" / "golden"
