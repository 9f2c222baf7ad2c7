"""The kernels under AddressSanitizer, UndefinedBehaviorSanitizer and ThreadSanitizer: nothing is found."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.minidl.cuda import sanitizers
from tests.minidl.cuda.sanitized_kernels import CASES


@pytest.fixture(scope="module")
def runs():
    """``{sanitizer: its run, as a future}``, all of which start at once."""
    usable = [each for each in sanitizers.LIBRARIES if sanitizers.problem(each) is None]
    with ThreadPoolExecutor() as pool:
        module = "-m", "tests.minidl.cuda.sanitized_kernels"
        yield {each: pool.submit(sanitizers.run_under, each, *module) for each in usable}


@pytest.mark.parametrize("sanitizer", sanitizers.LIBRARIES)
def test_kernels_are_clean(runs, sanitizer):
    if sanitizer not in runs:
        pytest.skip(sanitizers.problem(sanitizer))
    result = runs[sanitizer].result()
    assert result.returncode == 0, result.stderr[-3000:]
    assert result.stdout == f"{len(CASES)} cases are right\n"
    assert "anitizer" not in result.stderr
