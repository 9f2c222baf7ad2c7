"""The public functions of convolution on a GPU: types, layouts, errors, empty batches, workspaces."""

import numpy as np
import pytest

from minidl.device import array_library, to_cpu, to_device
from minidl.kernels.cuda import conv
from minidl.kernels.cuda.conv_shape import Epilogue
from minidl.kernels.cuda.settings import cuda_settings
from tests.minidl import naive
from tests.minidl.harness import assert_close, numbers

STRIDE, PADDING = (2, 1), (1, 1)
HALF = {"float16": 2e-3, "float32": 2e-5, "float64": 1e-12}


def inputs(dtype):
    """x and a gradient of y in a type, weight and bias in the type computed in."""
    real = "float32" if dtype == "float16" else dtype
    x, grad = numbers(2, 7, 6, 8).astype(dtype), numbers(2, 4, 6, 12, seed=3).astype(dtype)
    weight, bias = numbers(3, 3, 8, 12, seed=1), numbers(12, seed=2)
    if dtype == "float16":
        weight = weight.astype(dtype)  # so that rounding it in there changes nothing
    return x, weight.astype(real), bias.astype(real), grad


@pytest.mark.parametrize("dtype", HALF)
@pytest.mark.parametrize("convolution", ["auto", "plain", "blocked"])
def test_values_and_types(dtype, convolution, gpu_device):
    arrays = inputs(dtype)
    x, weight, bias, grad = (to_device(each, gpu_device) for each in arrays)
    with cuda_settings(convolution=convolution):
        y = conv.conv2d(x, weight, bias, STRIDE, PADDING)
        dx = conv.conv2d_grad_input(grad, weight, x.shape[1:3], STRIDE, PADDING)
        dweight = conv.conv2d_grad_weight(x, grad, (3, 3), STRIDE, PADDING)
        dbias = conv.conv2d_grad_bias(grad)
    assert (y.dtype, dx.dtype, dweight.dtype, dbias.dtype) == (x.dtype, x.dtype, weight.dtype, weight.dtype)
    x, weight, bias, grad = (each.astype(np.float64) for each in arrays)
    assert_close(to_cpu(y), naive.conv2d(x, weight, bias, STRIDE, PADDING), HALF[dtype], "result")
    wanted = naive.conv2d_gradients(x, weight, grad, STRIDE, PADDING)
    for found, gradient in zip((dx, dweight, dbias), wanted, strict=True):
        assert_close(to_cpu(found), gradient, HALF[dtype])


def test_bias_gradient_of_many_pixels_and_channels(gpu_device):
    grad = numbers(3, 20, 19, 37)
    total = conv.conv2d_grad_bias(to_device(grad, gpu_device))
    np.testing.assert_allclose(to_cpu(total), grad.sum((0, 1, 2)), rtol=0, atol=1e-11)


def test_transposed_arrays_are_read_right(gpu_device):
    x, weight, grad = numbers(3, 6, 5, 2), numbers(4, 3, 2, 2, seed=1), numbers(4, 5, 2, 3, seed=2)
    views = [to_device(each, gpu_device).T for each in (x, weight, grad)]
    y = conv.conv2d(views[0], views[1], None, (1, 1), (0, 1))
    assert_close(to_cpu(y), naive.conv2d(x.T, weight.T, None, (1, 1), (0, 1)), 1e-12)


def test_no_image(gpu_device):
    xp = array_library(gpu_device)
    x, weight, grad = xp.empty((0, 5, 6, 2)), to_device(numbers(3, 3, 2, 4), gpu_device), xp.empty((0, 5, 6, 4))
    assert conv.conv2d(x, weight, None, (1, 1), (1, 1)).shape == grad.shape
    assert conv.conv2d_grad_input(grad, weight, (5, 6), (1, 1), (1, 1)).shape == x.shape
    assert not to_cpu(conv.conv2d_grad_weight(x, grad, (3, 3), (1, 1), (1, 1))).any()
    assert not to_cpu(conv.conv2d_grad_bias(grad)).any()


def test_a_given_workspace_is_large_enough_and_nothing_is_allocated(gpu_device, monkeypatch):
    x, weight = numbers(1, 4, 4, 130), numbers(3, 3, 130, 8, seed=1)
    count = conv.conv2d_workspace(x.shape, weight.shape, (1, 1), (1, 1), x.dtype)
    assert count > 0  # one tile only, so its sum is split
    assert count % (16 * 8) == 0
    xp = array_library(gpu_device)
    y, workspace = xp.empty((1, 4, 4, 8)), xp.empty(count)
    arguments = to_device(x, gpu_device), to_device(weight, gpu_device), (1, 1), (1, 1), y, Epilogue(), workspace
    monkeypatch.setattr(xp, "empty", lambda *_: pytest.fail("memory was allocated"))
    conv.conv2d_into(*arguments)
    assert_close(to_cpu(y), naive.conv2d(x, weight, None, (1, 1), (1, 1)), 1e-12)


def test_wrong_arguments_are_refused(gpu_device):
    x, weight, bias, grad = (to_device(each, gpu_device) for each in inputs("float32"))
    with pytest.raises(ValueError, match="does not fit"):
        conv.conv2d(x, weight, None, (1, 1), (0, -3))
    with pytest.raises(TypeError, match="must be float32"):
        conv.conv2d(x, weight.astype(np.float64), bias, STRIDE, PADDING)
    with pytest.raises(ValueError, match="stride"):
        conv.conv2d_grad_input(grad, weight, (7, 6), (300, 300), PADDING)
