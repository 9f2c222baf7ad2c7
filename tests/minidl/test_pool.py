"""Max pooling by the original's padding rule, and global average pooling."""

import json

import numpy as np
import pytest

from minidl import Tensor, nn, ops
from tests.minidl import naive
from tests.minidl.harness import assert_close, check_operation, distinct, numbers

WINDOWS = [
    (2, 1, None),
    (2, 2, None),
    (2, 2, 0),
    (3, 2, None),
    (5, 1, None),
    (3, 1, 0),
    (3, 2, 1),
    (2, 3, 0),
    (1, 1, 0),
]


@pytest.mark.parametrize(("size", "stride", "padding"), WINDOWS)
@pytest.mark.parametrize("shape", [(2, 5, 7, 2), (1, 6, 4, 3), (1, 3, 3, 1)], ids=str)
def test_maxpool(size, stride, padding, shape, device):
    total = size - 1 if padding is None else padding
    x = distinct(*shape)
    check_operation(
        lambda tensor: ops.maxpool2d(tensor, size, stride, padding),
        [x],
        lambda array: naive.maxpool2d(array, size, stride, total),
        device,
    )
    tensor = Tensor(x, requires_grad=True)
    y = ops.maxpool2d(tensor, size, stride, padding)
    cotangent = numbers(*y.shape, seed=1)
    y.backward(cotangent)
    assert_close(tensor.grad, naive.maxpool2d(x, size, stride, total, cotangent), 1e-12)


@pytest.mark.parametrize("window", [(2, 1, 1), (5, 1, 4), (2, 2, 1), (3, 2, 2)], ids=str)
def test_golden_numbers_of_the_original(golden, window):
    data = json.loads((golden / "functions.json").read_text())
    size, stride, padding = window
    key = next(name for name in data if name.startswith(f"mp_size{size}_stride{stride}_pad{padding}_out"))
    x = np.array(data["mp_in_2x5x5"], np.float32).reshape(2, 5, 5).transpose(1, 2, 0)[None]
    side = int(key[-1])
    wanted = np.array(data[key], np.float32).reshape(2, side, side).transpose(1, 2, 0)[None]
    np.testing.assert_array_equal(ops.maxpool2d(Tensor(x), size, stride, padding).data, wanted)
    np.testing.assert_array_equal(nn.MaxPool2d(size, stride)(Tensor(x)).data, wanted)  # its padding is the default


def test_the_first_of_equal_values_receives_the_gradient():
    x = Tensor(np.zeros((1, 3, 3, 1)), requires_grad=True)
    ops.maxpool2d(x, 2, stride=1, padding=0).backward(np.array([1.0, 10, 100, 1000]).reshape(1, 2, 2, 1))
    np.testing.assert_array_equal(x.grad[0, :, :, 0], [[1, 10, 0], [100, 1000, 0], [0, 0, 0]])


def test_padding_never_wins_over_negative_numbers():
    y = ops.maxpool2d(Tensor(np.full((1, 3, 3, 1), -5.0)), 3, stride=1)
    np.testing.assert_array_equal(y.data, np.full((1, 3, 3, 1), -5.0))


def test_nan_wins_so_that_it_shows():
    nan = np.nan
    image = [[1, nan, 2, -np.inf], [nan, 3, 4, 5], [nan, nan, 6, 7], [nan, nan, 8, nan]]
    x = Tensor(np.array(image).reshape(1, 4, 4, 1), requires_grad=True)
    y = ops.maxpool2d(x, 2, stride=2, padding=0)
    np.testing.assert_array_equal(y.data[0, :, :, 0], [[nan, 5], [nan, nan]])
    y.backward(np.array([1.0, 10, 100, 1000]).reshape(1, 2, 2, 1))
    wanted = [[0, 1, 0, 0], [0, 0, 0, 10], [100, 0, 0, 0], [0, 0, 0, 1000]]  # of several the first
    np.testing.assert_array_equal(x.grad[0, :, :, 0], wanted)


def test_nan_wins_in_every_place_of_a_window():
    for place in np.ndindex(3, 3):
        x = np.arange(9.0).reshape(1, 3, 3, 1)
        x[0, *place, 0] = np.nan
        # One window around each pixel: those around the place and its neighbours hold it.
        neighbours = [[max(abs(place[0] - i), abs(place[1] - j)) <= 1 for j in range(3)] for i in range(3)]
        np.testing.assert_array_equal(np.isnan(ops.maxpool2d(Tensor(x), 3).data[0, :, :, 0]), neighbours)


def test_tiny_yolos_window_of_two_keeps_the_size():
    assert ops.maxpool2d(Tensor(np.zeros((1, 13, 13, 4))), 2, stride=1).shape == (1, 13, 13, 4)
    assert ops.maxpool2d(Tensor(np.zeros((1, 13, 13, 4))), 2, stride=2).shape == (1, 7, 7, 4)


def test_against_scipy():
    ndimage = pytest.importorskip("scipy.ndimage")
    x = numbers(9, 8)
    wanted = ndimage.maximum_filter(x, 3, mode="constant", cval=-np.inf)
    np.testing.assert_array_equal(ops.maxpool2d(Tensor(x[None, :, :, None]), 3).data[0, :, :, 0], wanted)


def test_window_that_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="maxpool2d: a 4x4 window does not fit into 3x9"):
        ops.maxpool2d(Tensor(np.ones((1, 3, 9, 1))), 4, 1, 0)


@pytest.mark.parametrize(("size", "most"), [(1, 0), (2, 2), (3, 4)])
@pytest.mark.parametrize("stride", [1, 2])
def test_windows_of_nothing_but_padding_are_refused(size, most, stride):
    x = Tensor(numbers(1, 5, 4, 1))
    assert np.isfinite(ops.maxpool2d(x, size, stride, most).data).all()
    with pytest.raises(ValueError, match=rf"maxpool2d: padding {most + 1} .* give at most {most}"):
        ops.maxpool2d(x, size, stride, most + 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [((0, 1), "size"), ((2, 0), "stride"), ((2, 1, -1), "padding"), ((2, 1.5), "stride")],
)
def test_wrong_window_is_refused(arguments, message):
    with pytest.raises(ValueError, match=f"maxpool2d: {message} must be a whole number of at least"):
        ops.maxpool2d(Tensor(np.ones((1, 4, 4, 1))), *arguments)


@pytest.mark.parametrize("shape", [(2, 3, 5, 4), (1, 1, 1, 3)])
def test_global_average_pool(shape, device):
    batch, height, width, channels = shape

    def expected(x):
        means = [x[n, :, :, c].sum() / (height * width) for n in range(batch) for c in range(channels)]
        return np.array(means).reshape(batch, channels)

    check_operation(ops.global_average_pool, [numbers(*shape)], expected, device)
    assert nn.GlobalAveragePool()(Tensor(numbers(*shape))).shape == (batch, channels)
