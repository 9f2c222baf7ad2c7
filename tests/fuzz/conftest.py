"""Fixtures of these tests."""

import time

import pytest

SOON = 60  # seconds, far above what a busy machine needs for any of these tests


@pytest.fixture(autouse=True)
def _soon():
    start = time.monotonic()
    yield
    assert time.monotonic() - start < SOON
