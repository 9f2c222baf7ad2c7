"""Convolution on tensor cores against loops that round the factors alike, and against exact ones within the bound."""

from contextlib import nullcontext

import numpy as np
import pytest

from minidl import ops
from minidl.device import array_library, to_cpu, to_device
from minidl.kernels.cuda import conv, conv_tensor
from minidl.kernels.cuda.conv_choice import Plan
from minidl.kernels.cuda.conv_shape import Epilogue
from minidl.kernels.cuda.emulator import checking
from minidl.kernels.cuda.settings import cuda_settings
from minidl.kernels.shapes import conv_output_size
from minidl.tensor import Tensor
from tests.minidl import naive
from tests.minidl.cuda.conv_cases import in_three_orders
from tests.minidl.harness import numbers

SMALL = [  # batch, height, width, in_channels, kernel, out_channels, stride, padding
    (1, 1, 1, 8, (1, 1), 8, (1, 1), (0, 0)),
    (2, 5, 7, 24, (1, 1), 16, (2, 2), (0, 0)),  # dx has pixels that no window reaches
    (1, 4, 3, 16, (1, 1), 8, (1, 1), (1, 2)),
    (2, 7, 6, 8, (3, 3), 24, (1, 1), (1, 1)),
    (2, 7, 6, 16, (3, 3), 8, (2, 2), (1, 1)),
    (1, 9, 8, 8, (5, 4), 8, (3, 1), (2, 1)),
    (3, 3, 1, 8, (2, 1), 8, (1, 1), (0, 0)),  # maps of one column: a copy moves on by many lines
    (1, 7, 8, 8, (6, 5), 8, (1, 1), (3, 2)),  # nearly as many taps as fit
    (1, 3, 4, 8, (2, 2), 8, (1, 1), (2, 3)),  # windows that hold nothing but padding
]
LARGE = [  # taken together: more than one tile of 128 and several stages, in each direction of each product
    (2, 9, 9, 24, (3, 3), 136, (1, 1), (1, 1)),
    (2, 17, 18, 136, (1, 1), 72, (1, 1), (0, 0)),
    (3, 15, 14, 24, (3, 3), 72, (2, 2), (1, 1)),
]
TYPES = "float32", "float16"


def rounded(array):
    """The factors as tensor cores see them: float32 as TF32, with 10 of 23 fraction bits; halves as they are."""
    if array.dtype == np.float16:
        return array.astype(np.float64)
    bits = np.ascontiguousarray(array).view(np.uint32)
    return ((bits + 0x1000) & 0xFFFFE000).view(np.float32).astype(np.float64)


def three_products(x, weight, grad, stride, padding):
    """(y, dx, dweight) by loops."""
    return naive.conv2d(x, weight, None, stride, padding), *naive.conv2d_gradients(x, weight, grad, stride, padding)[:2]


def term_counts(case):
    """How many products at most make up one number of y, of dx and of dweight."""
    batch, height, width, channels, kernel, filters, stride, padding = case
    taps, pixels = kernel[0] * kernel[1], np.prod(conv_output_size((height, width), kernel, stride, padding))
    return taps * channels, taps * filters, batch * pixels


def make_inputs(case, dtype):
    batch, height, width, channels, kernel, filters, stride, padding = case
    size = conv_output_size((height, width), kernel, stride, padding)
    shapes = (batch, height, width, channels), (*kernel, channels, filters), (batch, *size, filters)
    return [numbers(*shape, seed=seed).astype(dtype) for seed, shape in enumerate(shapes)]


def run(case, inputs, device, tile, parts=1):
    """(y, dx, dweight) of the kernels; the workspaces are just large enough."""
    *_, stride, padding = case
    xp, plan = array_library(device), Plan("tensor", tile, parts)
    x, weight, grad = (to_device(each, device) for each in inputs)
    y, dx, dweight = xp.empty(grad.shape, grad.dtype), xp.empty(x.shape, x.dtype), xp.empty(weight.shape, np.float32)
    workspaces = [xp.empty(each.size * parts, np.float32) if parts > 1 else None for each in (y, dweight)]
    conv_tensor.forward(x, weight, y, stride, padding, Epilogue(), plan, workspaces[0])
    conv_tensor.grad_weight(x, grad, dweight, stride, padding, plan, workspaces[1])
    conv_tensor.grad_input(grad, weight, dx, stride, padding, Plan("tensor", tile))
    return [to_cpu(each) for each in (y, dx, dweight)]


def check(case, dtype, device, tile, parts=1):
    """All that a sum of rounded factors may be off by is float32's rounding of sums, and float16's of results.

    Each of K additions rounds by at most 2**-24 of a partial sum, which is about sqrt(sum of squares).  Tensor cores
    cut off what does not fit, so errors may all have one sign: K times as much, and a little for sums that vanish.
    """
    inputs = make_inputs(case, dtype)
    found = run(case, inputs, device, tile, parts)
    factors = [rounded(each) for each in inputs]
    wanted = three_products(*factors, *case[-2:])
    squares = three_products(*(each**2 for each in factors), *case[-2:])
    for own, exact, square, terms in zip(found, wanted, squares, term_counts(case), strict=True):
        allowed = (terms + 16) * 2.0**-24 * np.sqrt(square)
        if own.dtype == np.float16:
            allowed += 2.0**-11 * abs(exact) + 2.0**-25
        assert own.shape == exact.shape
        assert np.all(abs(own - exact) <= allowed), f"{np.max(abs(own - exact) - allowed)} more than allowed"
    return found


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("tile", conv_tensor.TILES, ids=str)
@pytest.mark.parametrize("case", SMALL, ids=str)
def test_small_shapes(case, tile, dtype, gpu_device):
    check(case, dtype, gpu_device, tile)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("tile", conv_tensor.TILES, ids=str)
@pytest.mark.parametrize("case", LARGE, ids=str)
def test_many_tiles(case, tile, dtype, gpu_device):
    check(case, dtype, gpu_device, tile)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("tile", conv_tensor.TILES, ids=str)
def test_parts_in_any_order_of_threads(tile, dtype, gpu_device):
    case = 2, 12, 10, 40, (3, 3), 72, (2, 1), (1, 0)
    in_three_orders(lambda: check(case, dtype, gpu_device, tile, parts=3), gpu_device)


@pytest.mark.parametrize("dtype", TYPES)
def test_more_parts_than_stages(dtype, gpu_device):
    check((1, 3, 3, 8, (1, 1), 8, (1, 1), (0, 0)), dtype, gpu_device, (64, 64), parts=4)


@pytest.mark.parametrize("case", [(1, 3, 4, 8, (1, 1), 8, (1, 1), (0, 0)), (2, 9, 9, 24, (3, 3), 72, (2, 1), (1, 0))])
@pytest.mark.parametrize("dtype", TYPES)
def test_every_access_is_inside_and_after_a_barrier(dtype, case, gpu_device):
    with checking() if gpu_device == "emulated" else nullcontext():
        check(case, dtype, gpu_device, (64, 64), parts=2)


@pytest.mark.parametrize("case", LARGE, ids=str)
def test_the_error_of_tf32_is_within_its_bound(case, gpu_device):
    """At most 2**-10 of sum(|a * b|); and 0.0003 of sqrt(sum((a * b)**2)) on average, without a tendency to 0."""
    inputs = make_inputs(case, "float32")
    found = run(case, inputs, gpu_device, (64, 64))
    factors = [each.astype(np.float64) for each in inputs]
    wanted = three_products(*factors, *case[-2:])
    magnitudes = three_products(*map(abs, factors), *case[-2:])
    squares = three_products(*(each**2 for each in factors), *case[-2:])
    for own, exact, magnitude, square in zip(found, wanted, magnitudes, squares, strict=True):
        error = own - exact
        assert np.all(abs(error) <= 2.0**-10 * magnitude)
        assert 2e-4 < np.sqrt(np.mean(error**2) / np.mean(square)) < 4e-4
        assert abs(np.mean(error * np.sign(exact)) / np.mean(abs(exact))) < 5e-5


@pytest.mark.parametrize("parts", [1, 2])
@pytest.mark.parametrize("dtype", TYPES)
def test_slices_of_channels_and_what_follows(dtype, parts, gpu_device):
    """x, y and the residual are slices of channels of larger maps; what lies beside the slice of y stays as it is."""
    wide = [
        numbers(2, *size, seed=seed).astype(dtype) for seed, size in enumerate([(9, 7, 24), (5, 4, 32), (5, 4, 16)])
    ]
    weight, bias = numbers(3, 3, 8, 16, seed=4).astype(dtype), numbers(16, seed=5).astype(np.float32)
    device_x, device_y, device_residual = (to_device(each, gpu_device) for each in wide)
    epilogue = Epilogue(to_device(bias, gpu_device), 0.1, device_residual[..., :16], 0.25)
    workspace = array_library(gpu_device).empty(2 * 5 * 4 * 16 * parts, np.float32)
    arguments = (2, 2), (1, 1), epilogue, Plan("tensor", (64, 64), parts), workspace
    x, y = device_x[..., 8:16], device_y[..., 8:24]
    conv_tensor.forward(x, to_device(weight, gpu_device), y, *arguments)
    first = naive.leaky_relu(naive.conv2d(rounded(wide[0][..., 8:16]), rounded(weight), bias, (2, 2), (1, 1)))
    wanted = wide[1].astype(np.float64)
    wanted[..., 8:24] = naive.leaky_relu(first + wide[2], 0.25)
    np.testing.assert_allclose(to_cpu(device_y), wanted, rtol=1e-3 if dtype == "float16" else 0, atol=2e-5)


@pytest.mark.parametrize("dtype", TYPES)
def test_the_functions_of_convolution_take_this_way(dtype, gpu_device):
    case = 2, 8, 9, 16, (3, 3), 24, (2, 1), (1, 1)
    inputs = make_inputs(case, dtype)
    weight = inputs[1].astype(np.float32)  # parameters are float32 also beside maps of float16
    x, w, grad = (to_device(each, gpu_device) for each in (inputs[0], weight, inputs[2]))
    with cuda_settings(precision="tf32", convolution="tensor"):
        tensors = Tensor(x, requires_grad=True), Tensor(w, requires_grad=True)
        y = ops.conv2d(*tensors, None, *case[-2:])
        y.backward(grad)
    found = y.data, tensors[0].grad, tensors[1].grad
    for own, exact in zip(found, three_products(*map(rounded, inputs), *case[-2:]), strict=True):
        tolerance = 1e-3 if own.dtype == np.float16 else 1e-5
        assert np.max(abs(to_cpu(own) - exact)) <= tolerance * np.max(abs(exact))


def test_what_does_not_fit(gpu_device):
    xp = array_library(gpu_device)
    wide, odd = xp.zeros((1, 4, 4, 24), np.float32), xp.zeros((1, 4, 4, 22), np.float32)
    assert conv_tensor.fits((3, 3, 8, 8), wide, wide[..., 4:12])
    assert not conv_tensor.fits((3, 3, 8, 8), wide[..., 2:10])  # begins between chunks
    assert not conv_tensor.fits((3, 3, 6, 8), wide[..., :6])
    assert not conv_tensor.fits((3, 3, 8, 8), odd[..., :8])  # the next pixel begins between chunks
    assert not conv_tensor.fits((6, 6, 8, 8), wide)  # too many taps
    assert not conv_tensor.fits((3, 3, 8, 8), wide.astype(np.float64))
    assert conv_tensor.fits((3, 3, 8, 8), wide.astype(np.float16))
    assert not conv_tensor.fits((3, 3, 4, 8), wide.astype(np.float16)[..., :4])


def test_a_residual_that_does_not_fit_goes_another_way(gpu_device):
    xp = array_library(gpu_device)
    x, weight = numbers(1, 4, 4, 8).astype(np.float32), numbers(1, 1, 8, 8, seed=1).astype(np.float32)
    residual = numbers(1, 4, 4, 9, seed=2).astype(np.float32)
    y = xp.empty((1, 4, 4, 8), np.float32)
    epilogue = Epilogue(residual=to_device(residual, gpu_device)[..., 1:])
    with cuda_settings(precision="tf32", convolution="tensor"):
        conv.conv2d_into(*(to_device(each, gpu_device) for each in (x, weight)), (1, 1), (0, 0), y, epilogue)
    np.testing.assert_allclose(to_cpu(y), naive.conv2d(x, weight) + residual[..., 1:], atol=1e-5)  # in full float32
