"""The window matrix for inference: every stride, kernel and kind of input, whole or in blocks, against plain loops."""

from itertools import product

import numpy as np
import pytest

from minidl import get_num_threads, set_num_threads
from minidl.kernels.cpu.epilogue import Epilogue
from minidl.kernels.cpu.fused_conv import WindowConvolution
from minidl.kernels.cpu.wide import pixels_at_once
from tests.minidl import naive
from tests.minidl.harness import TOLERANCES, assert_close, numbers

WAYS = ("by_rows", "by_weights")
BLOCK_SIZES = (1, 150, 1 << 20)  # numbers of the window matrix: a row at a time, some rows, everything


@pytest.fixture(params=[1, 3])
def threads(request):
    before = get_num_threads()
    set_num_threads(request.param)
    yield request.param
    set_num_threads(before)


def padded(x, padding, more=0):
    """The map with zeros around it, and ``more`` rows and columns of NaN right and below, which nothing may read."""
    batch, height, width, channels = x.shape
    around = np.zeros((batch, height + 2 * padding + more, width + 2 * padding + more, channels), x.dtype)
    around[:, padding : padding + height, padding : padding + width] = x
    around[:, height + 2 * padding :] = np.nan
    around[:, :, width + 2 * padding :] = np.nan
    return around


def check(x, given, weight, stride, padding, residual=None, slopes=(1.0, 1.0), dtype=np.float64):
    """Convolve ``given``, which is x with its padding somewhere in memory, in each way; target is part of a larger."""
    bias = numbers(weight.shape[3], seed=5)
    wanted = naive.leaky_relu(naive.conv2d(x, weight, bias, (stride, stride), (padding, padding)), slopes[0])
    residual = numbers(*wanted.shape, seed=6) if residual else None
    wanted = naive.leaky_relu(wanted + (0 if residual is None else residual), slopes[1])
    epilogue = Epilogue(bias.astype(dtype), *slopes)
    given_residual = None if residual is None else residual.astype(dtype)
    batch, height, width, filters = wanted.shape
    for way, block_size in product(WAYS, BLOCK_SIZES):
        larger = np.full((batch, height + 2, width + 3, filters + 4), np.nan, dtype)
        target = larger[:, 1 : 1 + height, 2 : 2 + width, 3 : 3 + filters]
        bound = WindowConvolution(given, weight.astype(dtype), stride, target, epilogue, given_residual)
        getattr(bound, way)(block_size)
        assert_close(target, wanted, TOLERANCES[dtype], f"{way}({block_size})")
        target[...] = np.nan
        assert np.isnan(larger).all(), "it wrote beside its target"


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize(("size", "padding"), [(1, 0), (1, 1), (2, 0), (3, 0), (3, 1), (7, 3)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_kernels_and_strides(size, padding, stride, dtype):
    rounded = (numbers(2, 8, 9, 3), numbers(size, size, 3, 5, seed=1))
    x, weight = (each.astype(np.float32).astype(np.float64) for each in rounded)
    check(x, padded(x.astype(dtype), padding, more=2), weight, stride, padding, dtype=dtype)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", [2, 3, 5])
@pytest.mark.parametrize("way", WAYS)
def test_several_pixels_at_once_where_channels_are_few(way, size, stride, threads):
    width = 8 * stride + size - stride  # eight windows
    x, weight, bias = numbers(2, 9, width, 3), numbers(size, size, 3, 5, seed=1), numbers(5, seed=2)
    wanted = naive.leaky_relu(naive.conv2d(x, weight, bias, (stride, stride), (0, 0)), 0.1)
    batch, height, eight, filters = wanted.shape
    assert pixels_at_once(weight.shape, eight) > 1
    larger = np.full((batch, height + 2, eight, filters), np.nan)  # only rows may lie apart
    target = larger[:, 1 : 1 + height]
    for block_size in BLOCK_SIZES:
        bound = WindowConvolution(padded(x, 0, more=1), weight, stride, target, Epilogue(bias, 0.1))
        assert bound.target.shape[2] < eight
        getattr(bound, way)(block_size)
        assert_close(target, wanted, TOLERANCES[np.float64], f"{way}({block_size})")
        target[...] = np.nan
        assert np.isnan(larger).all(), "it wrote beside its target"


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("channels", [1, 4])
@pytest.mark.parametrize(("size", "stride"), [(1, 1), (1, 2), (3, 1), (3, 2)])
def test_inputs_that_are_part_of_a_larger_array(batch, channels, size, stride):
    x, padding = numbers(batch, 5, 6, channels), size // 2
    inner = padded(x, padding)
    _, height, width, _ = inner.shape
    weight = numbers(size, size, channels, 3, seed=1)
    for rows, columns, depth in product([(0, 0), (2, 1)], repeat=3):
        larger = np.full((batch, height + sum(rows), width + sum(columns), channels + sum(depth)), np.nan)
        part = larger[:, rows[0] :, columns[0] :, depth[0] : depth[0] + channels][:, :height, :width]
        part[...] = inner
        check(x, part, weight, stride, padding)
    check(x, inner[::-1].copy()[::-1], weight, stride, padding)


@pytest.mark.parametrize("shape", [(1, 1, 1, 2), (2, 1, 7, 2), (2, 7, 1, 2), (3, 2, 2, 1)])
@pytest.mark.parametrize("size", [1, 3])
def test_small_maps(shape, size):
    x = numbers(*shape)
    check(x, padded(x, size // 2), numbers(size, size, shape[3], 1, seed=1), 1, size // 2)


@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("slopes", [(1, 1), (0.1, 1), (1, 0.1), (0.5, 0)])
def test_what_follows(residual, slopes):
    x = numbers(2, 5, 4, 3)
    check(x, padded(x, 1), numbers(3, 3, 3, 4, seed=1), 1, 1, residual, slopes)
    check(x, x, numbers(1, 1, 3, 4, seed=1), 1, 0, residual, slopes)


def test_large_enough_for_several_threads(threads):
    x = numbers(2, 24, 20, 48)
    check(x, padded(x, 1), numbers(3, 3, 48, 13, seed=1), 1, 1, True, (0.1, 0.5))
    wide = numbers(2, 24, 20, 160)
    check(wide, wide, numbers(1, 1, 160, 13, seed=1), 1, 0, True, (0.1, 1))


def test_inputs_are_not_changed():
    x, weight, bias, residual = numbers(1, 6, 6, 2), numbers(3, 3, 2, 2), numbers(2), numbers(1, 4, 4, 2)
    kept = [array.copy() for array in (x, weight, bias, residual)]
    WindowConvolution(x, weight, 1, np.empty((1, 4, 4, 2)), Epilogue(bias, 0.1, 0.1), residual).by_rows(1000)
    for array, before in zip((x, weight, bias, residual), kept, strict=True):
        np.testing.assert_array_equal(array, before)
