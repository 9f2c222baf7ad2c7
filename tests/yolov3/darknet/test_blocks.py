"""Layers that only the original's files ask for."""

import json

import numpy as np
import pytest

from minidl import Tensor
from minidl.gradcheck import gradcheck
from yolov3.darknet.blocks import AvgPool, Connected, Flatten, Logistic, Reorg, Softmax


def numbers(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def test_reorg_in_the_originals_order(golden):
    wanted = json.loads((golden / "functions.json").read_text())["reorg_in_iota_4x4x4_stride2_out"]
    x = np.arange(64.0).reshape(4, 4, 4).transpose(1, 2, 0)[None]  # the iota in the original's order, channels first
    y = Reorg(2)(Tensor(x))
    assert y.shape == (1, 2, 2, 16)
    np.testing.assert_array_equal(y.data[0].transpose(2, 0, 1).ravel(), wanted)


@pytest.mark.parametrize(("shape", "stride"), [((2, 4, 6, 4), 2), ((1, 3, 9, 9), 3), ((1, 2, 2, 8), 2)])
def test_reorg_by_the_indices_of_the_specification(shape, stride):
    batch, height, width, channels = shape
    x = numbers(*shape)
    groups = channels // stride**2
    wanted = np.zeros((batch, channels * stride**2 * height // stride * width // stride))
    for n in range(batch):
        flat = x[n].transpose(2, 0, 1).ravel()
        place = 0
        for sy in range(stride):
            for sx in range(stride):
                for c in range(groups):
                    for i in range(height):
                        for j in range(width):
                            # pixel of a map (groups, height * stride, width * stride) that shares the buffer
                            row, column = i * stride + sy, j * stride + sx
                            wanted[n, place] = flat[(c * height * stride + row) * width * stride + column]
                            place += 1
    y = Reorg(stride)(Tensor(x)).data
    assert y.shape == (batch, height // stride, width // stride, channels * stride**2)
    np.testing.assert_array_equal(y.transpose(0, 3, 1, 2).reshape(batch, -1), wanted)


def test_reorg_is_not_plain_space_to_depth():
    x = numbers(1, 4, 4, 4)
    plain = x.reshape(1, 2, 2, 2, 2, 4).transpose(0, 1, 3, 2, 4, 5).reshape(1, 2, 2, 16)
    y = Reorg(2)(Tensor(x)).data
    assert not np.array_equal(np.sort(y[0, 0, 0]), np.sort(plain[0, 0, 0]))


def test_connected_flattens_rows_then_columns_then_channels():
    layer = Connected((2, 3, 2), 4, rng=np.random.default_rng(0)).astype(np.float64)
    x = numbers(5, 2, 3, 2)
    wanted = np.einsum("nijc,ijco->no", x, layer.weight.data.reshape(2, 3, 2, 4)) + layer.bias.data
    np.testing.assert_allclose(layer(Tensor(x)).data, wanted.reshape(5, 1, 1, 4), rtol=1e-12)


def test_softmax_by_hand():
    x = np.log([1.0, 3, 2, 2, 5, 5]).reshape(1, 1, 1, 6)
    y = Softmax(groups=3)(Tensor(x)).data
    np.testing.assert_allclose(y.ravel(), [0.25, 0.75, 0.5, 0.5, 0.5, 0.5], rtol=1e-12)
    warm = Softmax(temperature=0.5)(Tensor(x)).data.ravel()
    np.testing.assert_allclose(warm, np.array([1, 9, 4, 4, 25, 25]) / 68, rtol=1e-12)


def test_average_pool_keeps_a_map():
    x = numbers(2, 3, 5, 4)
    y = AvgPool()(Tensor(x))
    np.testing.assert_allclose(y.data, x.mean((1, 2), keepdims=True), rtol=1e-12)
    assert Flatten()(y).shape == (2, 4)


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (Reorg(2), (2, 4, 6, 4)),
        (Softmax(2, 0.7), (2, 1, 1, 6)),
        (AvgPool(), (2, 3, 5, 2)),
        (Flatten(), (2, 3, 5, 2)),
        (Logistic(), (2, 3, 5, 2)),
        (Connected((3, 5, 2), 4, bias=False).astype(np.float64), (2, 3, 5, 2)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_gradients(layer, shape):
    gradcheck(lambda x, *_: layer(x), numbers(*shape, seed=1), *layer.parameters())
