"""Winograd's convolution: its small matrices in exact arithmetic, its steps, and the whole against plain loops."""

from fractions import Fraction
from itertools import product

import numpy as np
import pytest

from minidl import get_num_threads, set_num_threads
from minidl.kernels.cpu.epilogue import Epilogue
from minidl.kernels.cpu.winograd import WinogradConvolution, padded_size, tile, tile_counts, transform_kernel
from tests.minidl import naive
from tests.minidl.harness import assert_close, numbers

SIZES = (2, 4)
WAYS = ("by_rows", "by_weights")


def fractions(matrix):
    """The fractions with small denominators that the floats stand for."""
    exact = [[Fraction(value).limit_denominator(100) for value in row] for row in matrix.tolist()]
    np.testing.assert_array_equal(matrix, [[float(value) for value in row] for row in exact])
    return np.array(exact, object)


def matrices(size):
    """B^T, G and A^T in exact arithmetic."""
    found = tile(size)
    assert found.size == size
    return fractions(found.input_transform), fractions(found.kernel_transform), fractions(found.output_transform)


@pytest.mark.parametrize("size", SIZES)
def test_the_matrices_are_exact_in_one_dimension(size):
    """A^T [(G g) * (B^T d)] is linear in g and in d, so it is enough to look at every pair of unit vectors."""
    b, g, a = matrices(size)
    assert (b.shape, g.shape, a.shape) == ((size + 2, size + 2), (size + 2, 3), (size, size + 2))
    for tap, place in product(range(3), range(size + 2)):
        outputs = a @ (g[:, tap] * b[:, place])
        assert outputs.tolist() == [int(place == output + tap) for output in range(size)]


@pytest.mark.parametrize("size", SIZES)
def test_the_matrices_are_exact_in_two_dimensions(size):
    b, g, a = matrices(size)
    rng = np.random.default_rng(0)
    d = rng.integers(-9, 10, (size + 2, size + 2)).astype(object)
    kernel = rng.integers(-9, 10, (3, 3)).astype(object)
    found = a @ ((g @ kernel @ g.T) * (b @ d @ b.T)) @ a.T
    wanted = [[(d[i : i + 3, j : j + 3] * kernel).sum() for j in range(size)] for i in range(size)]
    assert found.tolist() == wanted


def test_transformed_kernel_by_hand():
    """G (0, 1, 0) = (0, 1/2, -1/2, 0), so a kernel that keeps the pixel has +-1/4 at the four places inside."""
    weight = np.zeros((3, 3, 2, 3))
    weight[1, 1, 0, 2], weight[0, 0, 1, 0] = 8, 5  # G (1, 0, 0) = (1, 1/2, 1/2, 0)
    found = transform_kernel(weight, 2, at_once=2)
    assert found.shape == (2, 16, 2, 2)  # chunks, places, in, filters of a chunk
    wanted = np.zeros_like(found)
    wanted[1, :, 0, 0] = np.outer([0, 1, -1, 0], [0, 2, -2, 0]).ravel()
    wanted[0, :, 1, 0] = np.outer([2, 1, 1, 0], [2.5, 1.25, 1.25, 0]).ravel()
    np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("at_once", [1, 2, 5, 8])
def test_transformed_kernel_of_every_pair_of_channels(size, at_once):
    weight, g = numbers(3, 3, 2, 5), tile(size).kernel_transform
    found = transform_kernel(weight, size, at_once)
    assert found.shape == (-(-5 // at_once), (size + 2) ** 2, 2, at_once)
    for chunk, channel, number in np.ndindex(len(found), 2, at_once):
        filter_number = chunk * at_once + number
        kernel = weight[:, :, channel, filter_number] if filter_number < 5 else np.zeros((3, 3))
        wanted = (g @ kernel @ g.T).ravel()
        np.testing.assert_allclose(found[chunk, :, channel, number], wanted, rtol=0, atol=1e-15)


def test_sizes_by_hand():
    assert tile_counts((8, 9), 4) == (2, 3)
    assert tile_counts((1, 4), 4) == (1, 1)
    assert padded_size((8, 9), 4) == (10, 14)
    assert padded_size((8, 9), 2) == (10, 12)


def padded(x, size, more=0):
    """The map with the zeros that tiles of this size need around it, and ``more`` rows and columns."""
    batch, height, width, channels = x.shape
    needed = padded_size((height, width), size)
    around = np.zeros((batch, needed[0] + more, needed[1] + more, channels), x.dtype)
    around[:, 1 : height + 1, 1 : width + 1] = x
    return around


def check(shape, filters, size, ways=WAYS, residual=False, slopes=(1.0, 1.0), at_once=(1, 3, 64), spans=(1, 7, 1000)):
    """The convolution in float64, all ways, against plain loops; the target is part of a larger array."""
    x, weight, bias = numbers(*shape), numbers(3, 3, shape[3], filters, seed=1), numbers(filters, seed=2)
    wanted = naive.leaky_relu(naive.conv2d(x, weight, bias, (1, 1), (1, 1)), slopes[0])
    residual = numbers(*wanted.shape, seed=3) if residual else None
    wanted = naive.leaky_relu(wanted + (0 if residual is None else residual), slopes[1])
    batch, height, width, _ = shape
    for way, filters_at_once, tiles_at_once in product(ways, at_once, spans):
        kernel = transform_kernel(weight, size, filters_at_once)
        larger = np.full((batch, height + 3, width + 2, filters + 3), np.nan)
        target = larger[:, 2 : height + 2, 1 : width + 1, 1 : filters + 1]
        bound = WinogradConvolution(padded(x, size), kernel, size, target, Epilogue(bias, *slopes), residual)
        getattr(bound, way)(tiles_at_once)
        assert_close(target, wanted, 1e-12, f"{way}({tiles_at_once}), {filters_at_once} filters at once")
        target[...] = np.nan
        assert np.isnan(larger).all(), "it wrote beside its target"


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    "shape",
    [
        (1, 8, 8, 3),  # whole tiles
        (1, 9, 14, 2),  # tiles that stick out below and on the right
        (2, 13, 5, 2),
        (3, 4, 6, 1),
        (1, 11, 8, 2),
        (1, 1, 1, 2),  # smaller than a tile
        (2, 1, 9, 2),
        (2, 3, 2, 2),
    ],
)
def test_maps_of_every_shape(size, shape):
    check(shape, 4, size)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("filters", [1, 5, 6])
def test_numbers_of_filters(size, filters):
    check((2, 5, 6, 3), filters, size, at_once=(1, 2, 4, 5, 8))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("slopes", [(1, 1), (0.1, 1), (1, 0.1), (0.5, 0)])
def test_what_follows(size, residual, slopes):
    check((2, 7, 6, 2), 5, size, residual=residual, slopes=slopes, at_once=(3,), spans=(1, 5))


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("size", SIZES)
def test_large_enough_for_several_threads(size, threads):
    before = get_num_threads()
    set_num_threads(threads)
    try:
        check((2, 17, 19, 80), 10, size, residual=True, slopes=(0.1, 0.5), at_once=(3,), spans=(1, 20, 1000))
    finally:
        set_num_threads(before)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("size", SIZES)
def test_input_residual_and_border_that_are_part_of_larger_arrays(size, way):
    x, weight, bias = numbers(2, 6, 5, 3), numbers(3, 3, 3, 4, seed=1), numbers(4, seed=2)
    around = padded(x, size, more=3)  # a border wider than needed
    larger = np.full((*around.shape[:3], 7), np.nan)
    larger[..., 2:5] = around
    wide = numbers(2, 8, 9, 6, seed=3)
    residual = wide[:, 1:7, 2:7, 1:5]
    target = np.empty((2, 4, 6, 5)).transpose(0, 2, 3, 1)  # filters do not lie side by side
    bound = WinogradConvolution(
        larger[..., 2:5], transform_kernel(weight, size, 3), size, target, Epilogue(bias), residual
    )
    getattr(bound, way)(5)
    assert_close(target, naive.conv2d(x, weight, bias, (1, 1), (1, 1)) + residual, 1e-12)
    np.testing.assert_array_equal(larger[..., 2:5], around)
    np.testing.assert_array_equal(wide, numbers(2, 8, 9, 6, seed=3))


@pytest.mark.parametrize(("size", "bound"), [(2, 1e-6), (4, 1e-5)])
@pytest.mark.parametrize("channels", [8, 64])
def test_float32_rounding(size, bound, channels):
    """F(2x2) is as exact as the sum itself, 1e-6 of the largest output; F(4x4) loses a digit, no more."""
    x = numbers(1, 8, 9, channels).astype(np.float32)
    weight = (numbers(3, 3, channels, 6, seed=1) / channels).astype(np.float32)
    bias = numbers(6, seed=2).astype(np.float32)
    exact = naive.conv2d(x.astype(np.float64), weight.astype(np.float64), bias.astype(np.float64), (1, 1), (1, 1))
    for way in WAYS:
        target = np.empty(exact.shape, np.float32)
        kernel = transform_kernel(weight, size, 4)
        assert kernel.dtype == np.float32
        getattr(WinogradConvolution(padded(x, size), kernel, size, target, Epilogue(bias)), way)(8)
        assert_close(target, exact, bound, way)
