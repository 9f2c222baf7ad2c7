"""The profile of the pipeline: times by hand, and that the script runs to the end."""

import threading

import numpy as np
import pytest
from PIL import Image

from tests.benchmarks import pipeline, stopwatch
from tests.benchmarks.stopwatch import REST, Profile, Stopwatch, table


class Clock:
    """A clock that goes on only when it is told to."""

    def __init__(self):
        self.now = 0.0

    def perf_counter(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(stopwatch, "time", clock)
    return clock


def test_a_stage_is_without_the_stages_inside_it(clock):
    watch = Stopwatch()
    network = watch.timed("network", lambda: clock.sleep(5))

    def find():
        clock.sleep(1)
        for _ in range(2):
            network()
        clock.sleep(2)
        return "found"

    assert watch.timed("NMS", find)() == "found"
    network()
    assert watch.here == {"network": 15, "NMS": 3}
    assert watch.beside == {}


def test_other_threads_and_errors_are_counted(clock):
    watch = Stopwatch()

    def fail(seconds):
        clock.sleep(seconds)
        raise KeyError

    thread = threading.Thread(target=watch.timed("read", clock.sleep), args=(3,))
    thread.start()
    thread.join()
    with pytest.raises(KeyError):
        watch.timed("read", fail)(seconds=4)
    assert (watch.here, watch.beside) == ({"read": 4}, {"read": 3})


def profiles():
    stages = ["network", "read", "draw"]
    serial = Profile("detect: ms", ("network",), stages, 10.0, {"network": 8.0, "read": 1.0, "draw": 0.5}, {})
    threaded = Profile("detect: ms", ("network",), stages, 9.0, {"network": 8.5}, {"read": 1.5, "draw": 0.5})
    return serial, threaded


def test_the_parts_add_up_and_the_shares_are_right():
    serial, threaded = profiles()
    assert serial.parts() == {"network": 8.0, "read": 1.0, "draw": 0.5, REST: 0.5}
    assert serial.outside() == pytest.approx(0.2)
    assert threaded.outside() == pytest.approx(0.5 / 9)
    half = (serial + threaded).divided_by(2)
    assert half.wall == 9.5
    assert half.here == {"network": 8.25, "read": 0.5, "draw": 0.25}
    assert half.beside == {"network": 0, "read": 0.75, "draw": 0.25}


def test_the_table_by_hand():
    lines = table(*profiles()).splitlines()
    assert lines[2].split() == ["network", "8000.0", "80.0%", "8500.0", "94.4%"]
    assert lines[3].split() == ["read", "1000.0", "10.0%", "0.0", "0.0%", "1500.0"]
    assert lines[5].split()[-4:] == ["500.0", "5.0%", "500.0", "5.6%"]
    assert lines[7].endswith("20.0% one after another, 5.6% with threads")
    assert lines[8].endswith("11.1% with threads; these make the whole 10.0% shorter")


def test_photographs_are_always_the_same(tmp_path):
    pipeline.make_photographs(tmp_path, 2, 64, 48)
    first = [np.array(Image.open(path)) for path in sorted(tmp_path.iterdir())]
    pipeline.make_photographs(tmp_path, 2, 64, 48)
    again = [np.array(Image.open(path)) for path in sorted(tmp_path.iterdir())]
    assert [image.shape for image in first] == [(48, 64, 3)] * 2
    np.testing.assert_array_equal(first, again)
    assert (first[0] != first[1]).any()


@pytest.mark.parametrize("limit", [0.3, 0.9])
def test_the_threshold_is_chosen_for_about_ten_objects(limit):
    scores = np.linspace(0, limit, 100)

    class Detector:
        def __call__(self, picture):
            return scores[scores > self.confidence]

    detector = Detector()
    pipeline.set_confidence(detector, [None] * 3)
    assert abs(len(detector(None)) - pipeline.OBJECTS) <= 1


def test_the_script_runs(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(pipeline, "GENERATED", (("train", 8), ("val", 2)))
    small = ["--detector", "yolov3-nano", "--trained", "yolov3-nano", "--pictures", "2", "--repeat", "1"]
    pipeline.main([*small, "--figure", str(tmp_path / "figure.png")])
    output = capsys.readouterr().out
    for word in ("read the file", "letterbox", "decode, NMS", "draw", "write the file", "prepare batches", "validate"):
        assert word in output
    assert np.array(Image.open(tmp_path / "figure.png")).std() > 10


def test_absent_weights_end_with_a_sentence():
    with pytest.raises(SystemExit, match=r"absent\.weights"):
        pipeline.main(["--weights", "absent.weights", "--pictures", "1", "--repeat", "1"])
