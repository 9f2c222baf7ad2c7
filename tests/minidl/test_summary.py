"""The layer table, counted by hand."""

import numpy as np
import pytest

from minidl import nn
from minidl.nn import layer_table, summary


def network():
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2, bias=False),
        nn.BatchNorm(8, slope=0.1),
        nn.MaxPool2d(2, 2),
        nn.GlobalAveragePool(),
        nn.Linear(8, 10),
    )


def test_rows():
    rows = layer_table(network(), (16, 12, 3))
    assert [row.path for row in rows] == [f"layers.{index}" for index in range(5)]
    assert [row.kind for row in rows] == ["Conv2d", "BatchNorm", "MaxPool2d", "GlobalAveragePool", "Linear"]
    assert [row.kernel for row in rows] == ["3x3 / 2", "", "2x2 / 2", "", ""]
    assert [row.output_shape for row in rows] == [(8, 6, 8), (8, 6, 8), (4, 3, 8), (8,), (10,)]
    assert rows[0].input_shape == (16, 12, 3)
    assert [row.parameters for row in rows] == [3 * 3 * 3 * 8, 16, 0, 0, 90]
    assert [row.operations for row in rows] == [2 * 3 * 3 * 3 * 8 * 8 * 6, 0, 0, 0, 160]


def test_a_layer_that_runs_twice_has_two_rows():
    layer = nn.Conv2d(4, 4, 1)
    rows = layer_table(nn.Sequential(layer, nn.LeakyReLU(), layer), (3, 3, 4))
    assert [row.kind for row in rows] == ["Conv2d", "LeakyReLU", "Conv2d"]


def test_text():
    lines = summary(network(), (16, 12, 3)).splitlines()
    assert len(lines) == 7
    assert lines[1].split() == [
        *("0", "layers.0", "Conv2d", "3x3", "/", "2"),
        *("16x12x3", "->", "8x6x8", "216", "0.000"),
    ]
    assert lines[-1] == "total: 322 trainable parameters, 20,896 operations (0.00 Bn)"


@pytest.mark.parametrize("training", [True, False])
def test_modes_and_statistics_stay_as_they_were(training):
    model = network()
    model.layers[1].training = training
    layer_table(model, (16, 12, 3))
    assert model.training
    assert model.layers[1].training is training
    np.testing.assert_array_equal(model.layers[1].running_mean.data, np.zeros(8))


def test_modes_stay_as_they_were_after_an_error():
    model = network()
    with pytest.raises(ValueError, match="needs an input"):
        layer_table(model, (16, 12, 4))
    assert all(module.training for _, module in model.named_modules())
