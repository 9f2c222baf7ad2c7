"""Memory is measured in a process of its own, whatever this one has had."""

from functools import partial

import numpy as np
import pytest

from minidl import get_num_threads
from tests.benchmarks.memory import fused_forward, growth, training_steps
from tests.benchmarks.peers import LIBRARIES, OURS, PYTORCH

MEGABYTES = 1e6


def hold(before, then):
    """A function that needs ``then`` bytes, in a process that has had ``before`` and freed them."""
    np.ones(before // 8)
    return partial(need, then)


def need(count):
    return float(np.ones(count // 8).sum())


def test_growth_counts_what_the_function_needs_and_nothing_before():
    here = np.ones(30_000_000)  # 240 MB in this process
    grown, result = growth(hold, 200_000_000, 100_000_000)
    assert result == 12_500_000
    assert 95 * MEGABYTES < grown < 115 * MEGABYTES
    assert here[-1] == 1


def test_a_fused_network_needs_what_it_counts():
    grown, counted = growth(fused_forward, "yolov3-nano", 4, 416, get_num_threads(), None)
    assert counted["buffers"] > 20 * MEGABYTES  # 4 maps of 208 x 208 x 16 and of 416 x 416 x 8 among them
    assert grown > 0.9 * sum(counted.values())


@pytest.mark.parametrize("program", [OURS, PYTORCH])
def test_a_training_step_needs_at_least_its_first_map(program):
    for name in LIBRARIES.get(program, ()):
        pytest.importorskip(name)
    grown, _ = growth(training_steps, program, "yolov3-nano", (8, 160, 160), 3, 1)
    assert grown > 8 * 160 * 160 * 8 * 4
