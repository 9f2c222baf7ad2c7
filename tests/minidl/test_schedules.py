"""Learning rates: the original's own, and points by hand."""

import json

import numpy as np
import pytest

from minidl.schedules import burn_in, constant, cosine, steps


def test_golden_rates_of_yolov3(golden):
    data = json.loads((golden / "functions.json").read_text())
    rate = burn_in(steps(1e-3, at=(400_000, 450_000), scales=(0.1, 0.1)), 1000)
    found = [rate(batch) for batch in data["lr_batch"]]
    np.testing.assert_allclose(found, data["lr_steps_rate"], rtol=1e-6, atol=0)


def test_steps_multiply_from_their_step_on():
    rate = steps(8.0, at=(10, 20), scales=(0.5, 0.25))
    assert [rate(step) for step in (0, 9, 10, 19, 20, 1000)] == [8, 8, 4, 4, 1, 1]


def test_steps_and_scales_must_be_as_many():
    with pytest.raises(ValueError, match="2 steps need as many scales, not 1"):
        steps(1.0, (1, 2), (0.1,))


def test_linear_warm_up():
    rate = burn_in(constant(10.0), 5, power=1)
    assert [rate(step) for step in (0, 1, 4, 5, 6)] == [0, 2, 8, 10, 10]


def test_no_warm_up():
    assert burn_in(constant(3.0), 0)(0) == 3.0


def test_cosine():
    rate = cosine(2.0, total=100, final=0.1)
    assert rate(0) == 2.0
    assert rate(50) == pytest.approx(1.1)
    assert rate(25) == pytest.approx(0.2 + 1.8 * (1 + 0.5**0.5) / 2)
    assert rate(100) == pytest.approx(0.2)
    assert rate(1000) == pytest.approx(0.2)
    assert cosine(1.0, 10)(10) == pytest.approx(0.01)


def test_warm_up_meets_the_curve_behind_it():
    rate = burn_in(cosine(1.0, 100), 10, power=1)
    assert rate(9) == pytest.approx(0.9)
    assert rate(10) == pytest.approx(cosine(1.0, 100)(10))
