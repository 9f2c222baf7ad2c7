"""Runs the check of every exercise on the reader's own code."""

import pytest
from exercises.conftest import checks

CHECKS = dict(checks())


@pytest.mark.parametrize("name", CHECKS)
def test_exercise(name):
    try:
        CHECKS[name]()
    except NotImplementedError:
        pytest.skip("still to be done")
