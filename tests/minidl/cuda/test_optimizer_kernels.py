"""Steps of SGD and Adam on a GPU against the formulas in float64, and undoing the scale of a loss."""

import numpy as np
import pytest

from minidl.device import to_cpu
from minidl.kernels.cuda.optimizers import adam_update, move_towards, sgd_update, unscale
from tests.minidl.cuda.maps import in_every_order, on_device, rounded
from tests.minidl.harness import assert_close, numbers

TOLERANCES = {"float32": 1e-6, "float64": 1e-14}
SHAPES = [(1,), (256,), (3, 3, 5, 12)]


def state_of(shape, dtype, count):
    return [rounded(numbers(*shape, seed=seed), dtype) for seed in range(count)]


def check(found, wanted, dtype):
    for one, other in zip(found, wanted, strict=True):
        assert one.dtype == dtype
        assert_close(one, other, TOLERANCES[dtype])


@pytest.mark.parametrize("decay", [0, 0.25])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_sgd(shape, dtype, decay, gpu_device):
    w, grad, velocity = state_of(shape, dtype, 3)
    found = [on_device(each, gpu_device, dtype) for each in (w, grad, velocity)]
    sgd_update(*found, 0.1, 0.9, decay)
    velocity = 0.9 * velocity + grad + decay * w
    check(found, (w - 0.1 * velocity, grad, velocity), dtype)


@pytest.mark.parametrize("decay", [0, 0.25])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_adam(shape, dtype, decay, gpu_device):
    w, grad, mean, square = state_of(shape, dtype, 4)
    square = rounded(square**2, dtype)
    found = [on_device(each, gpu_device, dtype) for each in (w, grad, mean, square)]
    adam_update(*found, 0.1, (0.9, 0.999), 1e-3, decay, 3)
    g = grad + decay * w
    mean, square = 0.9 * mean + 0.1 * g, 0.999 * square + 0.001 * g * g
    w = w - 0.1 * (mean / (1 - 0.9**3)) / (np.sqrt(square / (1 - 0.999**3)) + 1e-3)
    check(found, (w, grad, mean, square), dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_an_average(shape, dtype, gpu_device):
    average, value = state_of(shape, dtype, 2)
    found = [on_device(each, gpu_device, dtype) for each in (average, value)]
    move_towards(*found, 0.125)
    check(found, (0.875 * average + 0.125 * value, value), dtype)


def test_a_gradient_with_gaps_in_memory(gpu_device):
    w, grad, velocity = state_of((5, 7), "float64", 3)
    found = [
        on_device(each, gpu_device, "float64", strided=index == 1) for index, each in enumerate((w, grad, velocity))
    ]
    sgd_update(*found, 0.1, 0.9, 0)
    check(found[:1], [w - 0.1 * (0.9 * velocity + grad)], "float64")


@pytest.mark.parametrize("bad", [None, np.inf, -np.inf, np.nan])
@pytest.mark.parametrize("place", [0, 1])
def test_unscale_notices_one_bad_number_among_all_gradients(bad, place, gpu_device):
    arrays = [numbers(300), numbers(7, 3, seed=1)]
    if bad is not None:
        arrays[place].flat[-1] = bad
    grads = [on_device(each, gpu_device, "float32") for each in arrays]
    overflow = unscale(grads, 1 / 1024)
    assert (overflow.shape, overflow.dtype, overflow.item()) == ((1,), np.int32, int(bad is not None))
    for grad, array in zip(grads, arrays, strict=True):
        np.testing.assert_array_equal(to_cpu(grad), array.astype(np.float32) / 1024)  # exact: a power of two


def test_every_order_of_threads(gpu_device):
    def compute():
        w, grad, mean, square = (on_device(abs(numbers(700, seed=seed)), gpu_device, "float32") for seed in range(4))
        adam_update(w, grad, mean, square, 0.1, (0.9, 0.99), 1e-8, 0.1, 1)
        sgd_update(w, grad, mean, 0.1, 0.9, 0.1)
        return w, mean, square, unscale([grad], np.inf), grad

    in_every_order(compute)
