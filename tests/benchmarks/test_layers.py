"""The benchmark of single layers: every way is there and computes the same, and the sums are right."""

import numpy as np
import pytest

from minidl.kernels.cpu import choice
from tests.benchmarks import layers
from tests.benchmarks.layers import Layer, Timing
from tests.benchmarks.peers import PeerError
from yolov3.model import build_model

SMALL = Layer((3, 3, 5, 6), 1, 1, (2, 9, 11, 5), (2, 9, 11, 6))
STRIDED = Layer((3, 3, 5, 6), 2, 1, (2, 8, 10, 5), (2, 4, 5, 6))
POINTWISE = Layer((1, 1, 5, 6), 1, 0, (2, 9, 11, 5), (2, 9, 11, 6))


def test_the_ways_of_a_layer():
    assert set(layers.possible_ways(SMALL)) == {"window", "window w", "F2", "F2 w", "F4", "F4 w"}
    assert set(layers.possible_ways(STRIDED)) == set(layers.possible_ways(POINTWISE)) == {"window", "window w"}
    for name, way in layers.possible_ways(SMALL).items():
        assert way.shared == name.endswith(" w")
        assert way.tile == (None if name.startswith("window") else int(name[1]))


@pytest.mark.parametrize("layer", [SMALL, STRIDED, POINTWISE], ids=str)
def test_every_way_is_timed(layer, monkeypatch):
    monkeypatch.setattr(layers, "CACHES", 1000)
    chosen = layers.possible_ways(layer)["window"]
    timing = layers.measure_layer(layer, 3, chosen, repeat=1)
    assert (timing.count, timing.chosen) == (3, "window")
    assert timing.seconds.keys() == layers.possible_ways(layer).keys()
    assert min(timing.seconds.values()) > 0


def test_a_way_that_computes_something_else_is_refused():
    right, wrong = np.ones((1, 2, 2, 3)), np.full((1, 2, 2, 3), 1.001)
    with pytest.raises(PeerError, match="F2 disagrees with window"):
        layers._check({"window": (None, right, lambda: None), "F2": (None, wrong, lambda: None)})


def test_layers_of_a_network_are_counted_once():
    found = layers.layers_of(build_model("yolov3-nano", seed=0), (2, 64, 96, 3))
    first, (count, way) = next(iter(found.items()))
    assert (first.weight_shape[:3], first.input_shape) == ((3, 3, 3), (2, 64, 96, 3))
    assert count == 1
    assert isinstance(way, choice.Way)
    model = build_model("yolov3-nano", seed=0)
    convolutions = sum(parameter.ndim == 4 for _, parameter in model.named_parameters())
    assert sum(count for count, _ in found.values()) == convolutions > len(found)


def test_table_and_summary_by_hand():
    timings = [
        Timing(SMALL, 4, "F2", {"window": 0.003, "F2": 0.002, "F4": 0.001}),
        Timing(POINTWISE, 1, "window", {"window": 0.012}),
    ]
    assert POINTWISE.operations == 2 * 5 * 6 * (2 * 9 * 11)
    lines = [line.split() for line in layers.table(timings).splitlines()]
    assert lines[1] == ["3x3/1", "5->6", "at", "9x11", "4", "3.00", "2.00*", "1.00", "2.00", "4.00"]
    assert lines[2][-3:] == ["12.00*", "1.00", "0.00"]
    assert layers.summary(timings).startswith("all convolutions: 20.0 ms")  # 4 x 2 + 12
    assert layers.summary(timings).endswith("by the best way each: 16.0 ms; 4.0 ms (20.0%) are lost")


def test_the_script_runs(monkeypatch, capsys):
    monkeypatch.setattr(layers, "CACHES", 1000)
    layers.main(["--model", "yolov3-nano", "--imgsz", "32", "--batch", "2", "--repeat", "1"])
    output = capsys.readouterr().out
    assert "yolov3-nano, images (2, 32, 32, 3), milliseconds" in output
    assert "3x3/1 3->" in output
    assert "all convolutions: " in output
