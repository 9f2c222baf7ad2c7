"""The command ``python -m tests.gpu`` itself, tried out on the emulator."""

import json
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from tests.benchmarks.layers import Layer
from tests.conftest import device_problem
from tests.gpu import __main__ as command
from tests.gpu.agreement import difference
from tests.gpu.calls import all_calls
from tests.gpu.roofline import figures, layers_of, least_seconds, moved_bytes
from tests.gpu.stage import LOG, RESULTS, Stage, add_result, forget_results, read_results
from tests.gpu.timing import KernelClock, take_turns
from yolov3.model import build_model

LAYER = Layer((3, 3, 4, 8), 1, 1, (2, 5, 7, 4), (2, 5, 7, 8))


@pytest.mark.skipif(device_problem("emulated") is not None, reason="needs g++")
def test_the_whole_command_in_miniature(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "tests.gpu", "--emulated", "--out", str(tmp_path)],
        cwd=command.PROJECT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    results = json.loads((tmp_path / RESULTS).read_text())
    states = {name: stage["state"] for name, stage in results["stages"].items()}
    skipped = {"compiled", "sanitizer", "counters"}
    assert states == {plan.name: "skipped" if plan.name in skipped else "passed" for plan in command.STAGES}
    assert results["inference"]["yolov3-nano-32, batch 1, fp32"]["this project, graph"]["ms"] > 0
    assert results["layers"]["forward, batch 1, fp32"]["3x3/1 3->8 at 32x32"]["count"] == 1
    assert results["curves"]["emulated, fp32"][0] == pytest.approx(results["curves"]["cpu, fp32"][0], rel=1e-4)
    log = (tmp_path / LOG).read_text()
    assert log.strip().endswith(done.stdout.strip()[-500:])
    for name in states:
        assert f"== {name}: " in log


def test_a_stage_that_takes_too_long_ends_with_all_that_it_started(tmp_path, capsys):
    late = tmp_path / "late"
    command_of_stage = ["sh", "-c", f"echo begun; (sleep 1; touch {late}) & sleep 9"]
    assert _state(command_of_stage, tmp_path, seconds=0.3) == "out of time"
    assert "begun" in (tmp_path / LOG).read_text()
    assert "begun" in capsys.readouterr().out
    time.sleep(1)
    assert not late.exists()


@pytest.mark.parametrize(("code", "state"), [(0, "passed"), (1, "failed"), (77, "skipped")])
def test_a_stages_exit_code_is_its_state(code, state, tmp_path):
    assert _state(["sh", "-c", f"exit {code}"], tmp_path, seconds=20) == state


def _state(command_of_stage, folder, seconds):
    with (folder / LOG).open("w") as log:
        return command.run_stage(command_of_stage, seconds, log)


def test_results_are_kept_at_once_and_rounded(tmp_path):
    stage = Stage("some", "emulated", tmp_path)
    stage.record("first", {"a": 1 / 3, "b": [np.float64(12345678.0), np.inf], "c": None})
    assert read_results(tmp_path) == {"some": {"first": {"a": 0.3333, "b": [12350000.0, "inf"], "c": None}}}
    stage.record("second", "text")
    add_result(tmp_path, "other", "third", 3)
    assert stage.found_by("other") == {"third": 3}
    assert stage.found_by("absent") == {}
    forget_results(tmp_path, "some")
    assert read_results(tmp_path) == {"other": {"third": 3}}


def test_the_table_at_the_end():
    results = {
        "stages": {"layers": {"state": "failed", "seconds": 12.3}, "training": {"state": "passed", "seconds": 4}},
        "training": {"headline": "fast"},
    }
    head, first, second = command.summary(results).splitlines()
    assert first.split() == ["training", "passed", "4", "fast"]
    assert second.split() == ["layers", "failed", "12"]
    assert head.split() == ["stage", "state", "seconds", "result"]


def test_every_stage_is_a_module_with_a_limit_of_time():
    for plan in command.STAGES:
        assert (Path(command.__file__).parent / f"{plan.name}.py").is_file()
        assert 0 < plan.seconds < 60 * command.MINUTES


def test_programs_take_turns_and_one_that_fails_leaves():
    order = []

    def failing():
        order.append("b")
        if order.count("b") > 3:
            raise MemoryError("no room\nfor details")

    turns = []
    seconds, errors = take_turns(
        {"a": lambda: order.append("a"), "b": failing},
        "emulated",
        rounds=3,
        deadline=0,
        after_turn=lambda: turns.append(len(order)),
        shortest=0,
    )
    assert errors == {"b": "MemoryError: no room"}
    assert list(seconds) == ["a"]
    assert len(seconds["a"]) == 3
    assert "".join(order) == "aabbaabbaaaa"  # two calls each turn: one without a clock, one with
    assert turns == [2, 4, 6, 8, 10, 12]


def test_a_kernel_is_timed_after_it_was_compiled():
    calls = []
    assert KernelClock("emulated").seconds(lambda: calls.append(1), repeat=3) >= 0
    assert len(calls) == 4


def test_what_a_convolution_needs():
    assert LAYER.operations == 2 * (3 * 3 * 4) * 8 * (2 * 5 * 7)
    numbers = 2 * 5 * 7 * 4 + 3 * 3 * 4 * 8 + 2 * 5 * 7 * 8
    assert moved_bytes(LAYER, "fp32") == 4 * numbers
    assert moved_bytes(LAYER, "fp16") == 2 * numbers
    by_multiplying, by_moving = {"fp32": 1e3, "bytes": 1e9}, {"fp32": 1e12, "bytes": 1e2}
    assert least_seconds(LAYER, "fp32", by_multiplying) == LAYER.operations / 1e3
    assert least_seconds(LAYER, "fp32", by_moving) == 4 * numbers / 1e2
    assert least_seconds(LAYER, "tf32", by_moving) is None
    found = figures(Counter({LAYER: 2}), "fp32", 0.5, by_multiplying, passes=3)
    assert found["tflops"] == pytest.approx(6 * LAYER.operations / 0.5 / 1e12)
    assert found["gb_per_s"] == pytest.approx(6 * 4 * numbers / 0.5 / 1e9)
    assert found["of_roofline"] == pytest.approx(6 * LAYER.operations / 1e3 / 0.5)


def test_the_convolutions_of_yolov3():
    """75 convolutions, 65.86 billion operations at 416x416 (the original prints 65.864), in proportion to area."""
    layers = layers_of(build_model("yolov3", seed=0), (1, 64, 64, 3))
    assert sum(layers.values()) == 75
    operations = sum(count * layer.operations for layer, count in layers.items())
    assert operations * (416 / 64) ** 2 == pytest.approx(65.864e9, rel=1e-5)


def test_differences_are_relative_and_see_nan_and_shapes():
    assert difference([1.0, -4.0], [1.5, -4.0]) == 0.125
    assert difference([1.0, np.nan], [1.0, np.nan]) == np.inf
    assert difference(np.zeros((2, 1)), np.zeros((1, 2))) == np.inf


def test_every_kernel_of_the_package_is_called():
    from minidl.kernels import cuda

    assert {call.kernel for call in all_calls()} == set(cuda.__all__)
