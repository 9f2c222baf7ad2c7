"""What the tests of every way of convolution on a GPU share: shapes, and the three functions of a way against loops."""

from contextlib import nullcontext

import numpy as np

from minidl import cuda_settings, ops
from minidl.device import array_library, to_cpu, to_device
from minidl.kernels.cuda.conv_choice import Plan
from minidl.kernels.cuda.conv_shape import Epilogue
from minidl.kernels.cuda.emulator import checking, thread_order
from minidl.kernels.cuda.launch import REAL
from minidl.kernels.shapes import conv_output_size
from tests.minidl import naive
from tests.minidl.harness import assert_close, check_operation, numbers

TOLERANCES = {"float16": 2e-3, "float32": 2e-5, "float64": 1e-12}  # relative to the largest number expected

SMALL = [  # batch, height, width, in_channels, kernel, out_channels, stride, padding
    (1, 1, 1, 1, (1, 1), 1, (1, 1), (0, 0)),
    (2, 5, 7, 3, (1, 1), 4, (1, 1), (0, 0)),
    (1, 4, 3, 4, (1, 1), 8, (1, 1), (1, 2)),
    (2, 7, 6, 5, (3, 3), 6, (1, 1), (1, 1)),
    (2, 7, 6, 4, (3, 3), 20, (2, 2), (1, 1)),
    (1, 9, 8, 3, (3, 3), 2, (3, 1), (0, 1)),
    (1, 6, 9, 4, (2, 2), 8, (1, 2), (0, 0)),
    (1, 8, 7, 2, (2, 2), 3, (3, 3), (1, 1)),  # pixels that no window reaches
    (1, 9, 11, 2, (5, 4), 5, (2, 3), (2, 1)),
    (1, 3, 4, 2, (2, 2), 2, (1, 1), (2, 3)),  # windows that hold nothing but padding
    (1, 2, 2, 1, (1, 1), 1, (2, 2), (3, 2)),
]

# Channels of a slice, where it begins, channels of the map around it: in fours, and whatever forbids that.
SLICES = [(8, 8, 24), (3, 1, 8), (8, 2, 16), (8, 4, 17)]


def check_way(way, case, device, dtype, tile, parts=(1, 1)):
    """(result, gradient of x, gradient of the weight) of one way, after comparing them with loops.

    tile: as a way's plans have it; parts: of the sums of the forward pass and of the weight's gradient.  The workspace
    is just large enough.
    """
    batch, height, width, channels, kernel, filters, stride, padding = case
    size = conv_output_size((height, width), kernel, stride, padding)
    shapes = (batch, height, width, channels), (*kernel, channels, filters), (batch, *size, filters), (filters,)
    types = (dtype, dtype, dtype, REAL[dtype])
    inputs = [numbers(*shape, seed=seed).astype(types[seed]) for seed, shape in enumerate(shapes)]
    x, weight, grad, bias = (to_device(each, device) for each in inputs)
    xp, real = array_library(device), REAL[dtype]
    y, dx, dweight = xp.empty(grad.shape, dtype), xp.empty(x.shape, dtype), xp.empty(weight.shape, real)
    plans = [Plan(way.__name__.rpartition("_")[2], tile, count) for count in (*parts, 1)]
    workspaces = [xp.empty(each.size * plan.parts, real) for each, plan in zip((y, dweight), plans, strict=False)]
    way.forward(x, weight, y, stride, padding, Epilogue(bias), plans[0], workspaces[0])
    way.grad_weight(x, grad, dweight, stride, padding, plans[1], workspaces[1])
    way.grad_input(grad, weight, dx, stride, padding, plans[2])
    found = [to_cpu(each) for each in (y, dx, dweight)]
    _compare(found, [each.astype(np.float64) for each in inputs], stride, padding, TOLERANCES[dtype])
    return found


def _compare(found, inputs, stride, padding, tolerance):
    x, weight, grad, bias = inputs
    y = naive.conv2d(x, weight, bias, stride, padding)
    dx, dweight, _ = naive.conv2d_gradients(x, weight, grad, stride, padding)
    for name, own, wanted in zip(("result", "gradient of x", "of the weight"), found, (y, dx, dweight), strict=True):
        assert_close(own, wanted, tolerance, name)


def in_three_orders(function, device):
    """Compare the arrays that ``function()`` returns for three orders of the emulator's threads: all must be equal.

    A GPU has its own order, so there the function is run three times.
    """
    results = []
    for order in (0, 1, 7):
        with thread_order(order) if device == "emulated" else nullcontext():
            results.append(function())
    for other in results[1:]:
        for first, again in zip(results[0], other, strict=True):
            np.testing.assert_array_equal(first, again)  # bit for bit


def checked(device):
    """The emulator looks at every access to memory: beyond an array, or two threads without a barrier between them."""
    return checking() if device == "emulated" else nullcontext()


def check_slices(way, device, tile, channels, offset, width, parts=1):
    """x, y and the residual are slices of channels of larger maps; bias, residual and both slopes are used.

    What lies beside the slice of y must stay as it is.
    """
    xp = array_library(device)
    wide_x, wide_y = numbers(2, 5, 6, width, seed=1), numbers(2, 3, 3, width + 4, seed=2)
    wide_residual = numbers(2, 3, 3, width, seed=3)
    weight, bias = numbers(3, 3, channels, channels, seed=4), numbers(channels, seed=5)
    own = slice(offset, offset + channels)
    device_y = to_device(wide_y, device)
    residual = to_device(wide_residual, device)[..., own]
    epilogue = Epilogue(to_device(bias, device), 0.1, residual, 0.25)
    x, y = to_device(wide_x, device)[..., own], device_y[..., own]
    plan = Plan(way.__name__.rpartition("_")[2], tile, parts)
    workspace = xp.empty(y.size * parts) if parts > 1 else None
    way.forward(x, to_device(weight, device), y, (2, 2), (1, 1), epilogue, plan, workspace)
    first = naive.leaky_relu(naive.conv2d(wide_x[..., own], weight, bias, (2, 2), (1, 1)))
    wanted = wide_y.copy()
    wanted[..., own] = naive.leaky_relu(first + wide_residual[..., own], 0.25)
    assert_close(to_cpu(device_y), wanted, 1e-12)


def check_gradients_of_the_operation(convolution, channels, filters, device):
    """``ops.conv2d`` by one way, forwards against loops and backwards against finite differences in float64."""
    inputs = numbers(2, 5, 6, channels), numbers(3, 2, channels, filters, seed=1), numbers(filters, seed=2)
    with cuda_settings(convolution=convolution):
        check_operation(
            lambda x, weight, bias: ops.conv2d(x, weight, bias, (2, 1), (1, 1)),
            inputs,
            lambda x, weight, bias: naive.conv2d(x, weight, bias, (2, 1), (1, 1)),
            device,
        )
