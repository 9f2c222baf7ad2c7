"""Every planted bug is noticed by each check that its row of the table names; the kernels without bugs pass all."""

import shutil

import pytest

from minidl.kernels.cuda import emulator
from minidl.kernels.cuda.emulator import EmulatorError
from minidl.kernels.cuda.emulator.stand_in.modules import OverrunError
from tests.minidl.cuda import sanitizers
from tests.minidl.cuda.planted_bugs import BUGS, SOURCES, is_right

pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="the emulator needs g++")
ORDERS = (0, 1, 7)


def noticed_by(check):
    return [name for name, bug in BUGS.items() if check in bug.noticed_by]


def is_right_in_order(name, order):
    try:
        with emulator.thread_order(order):
            return is_right(name)
    except OverrunError:
        return False


@pytest.mark.parametrize("name", noticed_by("orders"))
def test_wrong_in_some_order(name):
    assert not all(is_right_in_order(name, order) for order in ORDERS)


@pytest.mark.parametrize("name", noticed_by("reported"))
def test_reported_in_an_ordinary_launch(name):
    for order in ORDERS:
        with emulator.thread_order(order), pytest.raises(EmulatorError, match=r"planted\.cu:\d+: "):
            is_right(name)


@pytest.mark.parametrize("name", noticed_by("guards"))
def test_guards_are_overwritten(name):
    with pytest.raises(OverrunError):
        is_right(name)


@pytest.mark.parametrize("name", noticed_by("checking"))
@pytest.mark.parametrize("order", ORDERS)
def test_the_line_is_named(name, order):
    with emulator.checking(), emulator.thread_order(order), pytest.raises(EmulatorError) as error:
        is_right(name)
    assert any(f"planted.cu:{line}" in str(error.value) for line in BUGS[name].lines()), error.value


@pytest.mark.parametrize(
    ("sanitizer", "name"), [(each, name) for each in sanitizers.LIBRARIES for name in noticed_by(each)]
)
def test_a_sanitizer_finds_it(sanitizer, name):
    if sanitizers.problem(sanitizer):
        pytest.skip(sanitizers.problem(sanitizer))
    result = sanitizers.run_under(sanitizer, "-m", "tests.minidl.cuda.planted_bugs", name)
    assert result.returncode != 0
    assert "planted.cu:" in result.stderr, result.stderr[-2000:]


@pytest.mark.parametrize("kernel", SOURCES)
@pytest.mark.parametrize("order", ORDERS)
def test_without_a_bug(kernel, order):
    with emulator.thread_order(order):
        assert is_right(kernel)
        with emulator.checking():
            assert is_right(kernel)


@pytest.mark.parametrize("sanitizer", sanitizers.LIBRARIES)
def test_without_a_bug_under_a_sanitizer(sanitizer):
    if sanitizers.problem(sanitizer):
        pytest.skip(sanitizers.problem(sanitizer))
    result = sanitizers.run_under(sanitizer, "-m", "tests.minidl.cuda.planted_bugs", *SOURCES)
    assert result.returncode == 0, result.stderr[-2000:]
