"""Fixtures that every test may use, and the devices that tests run on.

YOLOV3_TEST_DEVICES=cuda (or several, with commas) leaves out every test that does not run on one of these devices.
"""

import os
import signal
from pathlib import Path

import pytest

from minidl.device import DeviceError, resolve_device

PROJECT = Path(__file__).resolve().parent.parent
DEVICES = ("cpu", "cuda", "emulated")
ASKED_FOR = os.environ.get("YOLOV3_TEST_DEVICES", "")


def device_problem(name):
    """Why tests do not run on the device ``name`` here; None where they do."""
    if ASKED_FOR and name not in ASKED_FOR.split(","):
        return "not asked for"
    try:
        resolve_device(name)
    except DeviceError as error:
        return str(error)
    return None


def tested(*names):
    """Those of the devices that tests run on."""
    return [name for name in names if device_problem(name) is None]


def pytest_configure():
    """Ctrl-C, which some tests press, also works where pytest was started in the background, which ignores it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(config, items):
    """Where devices are asked for, leave out what runs on none of them, such as tests of the CPU alone."""
    if not ASKED_FOR:
        return
    runs = [bool({"device", "gpu_device"} & set(getattr(item, "fixturenames", ()))) for item in items]
    config.hook.pytest_deselected(items=[item for item, own in zip(items, runs, strict=True) if not own])
    items[:] = [item for item, own in zip(items, runs, strict=True) if own]


def pytest_terminal_summary(terminalreporter):
    """Which devices the tests of this run cover, and which they leave out and why."""
    terminalreporter.section("devices")
    for name in DEVICES:
        problem = device_problem(name)
        terminalreporter.line(f"{name}: tested" if problem is None else f"{name}: not tested, {problem}")


@pytest.fixture(params=tested(*DEVICES))
def device(request):
    """Each device that can be used here, one after the other; the summary at the end names the others."""
    return request.param


@pytest.fixture(params=tested("emulated", "cuda"))
def gpu_device(request):
    """Each device that runs CUDA kernels: the emulator, and a GPU where there is one."""
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
