"""Batch norm on a GPU: against loops, finite differences, both rules, parts of the rows, precision, float16."""

import numpy as np
import pytest

from minidl.device import to_cpu
from minidl.kernels import cpu
from minidl.kernels.batchnorm_rules import DARKNET_CPU, STANDARD
from minidl.kernels.cuda import batchnorm
from minidl.kernels.cuda.launch import REAL
from tests.minidl import naive
from tests.minidl.cuda.maps import DTYPES, TOLERANCES, assert_result, empty_map, in_every_order, on_device, rounded
from tests.minidl.harness import assert_close, numbers

ORACLES = {"standard": naive.batchnorm_standard, "darknet-cpu": naive.batchnorm_darknet}
SHAPES = [
    (2, 3, 5, 4),
    (1, 1, 7, 3),
    (6, 2),
    (2, 8, 8, 1),
    (9, 8, 136),  # packs of 4, more than one block along the channels
    (37, 70),  # packs of 1, likewise
    (1, 30, 43, 8),  # more than one block along the rows
    (1300, 3),
]
shapes = pytest.mark.parametrize("shape", SHAPES, ids=str)
slopes = pytest.mark.parametrize("slope", [1.0, 0.1])
rules = pytest.mark.parametrize("rule", [STANDARD, DARKNET_CPU], ids=lambda rule: rule.name)


def inputs_of(shape, dtype="float64"):
    """x in a type; gamma, beta, mean and variance in the type computed in; all as float64."""
    x = rounded(numbers(*shape) * 2 + 1, dtype)
    vectors = [numbers(shape[-1], seed=seed) for seed in (1, 2, 3, 4)]
    vectors = vectors[0] + 0.2, vectors[1], vectors[2], np.abs(vectors[3]) + 0.1
    return x, *(rounded(each, REAL[dtype]) for each in vectors)


def on_gpu(x, vectors, device, dtype, strided=False):
    return on_device(x, device, dtype, strided), *(on_device(each, device, REAL[dtype], strided) for each in vectors)


@shapes
@slopes
@rules
@pytest.mark.parametrize("dtype", DTYPES)
def test_forward(shape, slope, rule, dtype, gpu_device):
    x, gamma, beta, mean, variance = inputs_of(shape, dtype)
    arrays = on_gpu(x, (gamma, beta, mean, variance), gpu_device, dtype)
    y, found_mean, found_variance = batchnorm.batchnorm_train(*arrays[:3], rule, slope)
    assert_result(y, ORACLES[rule.name](x, gamma, beta, slope=slope), gpu_device, dtype, "y in training", factor=2)
    wanted_mean, squares = naive.channel_statistics(x)
    assert_result(found_mean, wanted_mean, gpu_device, REAL[dtype], "mean")
    assert_result(found_variance, squares / (x.size // shape[-1]), gpu_device, REAL[dtype], "variance")
    y = batchnorm.batchnorm_eval(*arrays, rule, slope)
    wanted = ORACLES[rule.name](x, gamma, beta, mean, variance, slope)
    assert_result(y, wanted, gpu_device, dtype, "y in evaluation", factor=2)


def gradients(shape, rule, slope, dtype, device, training, strided=False):
    """Those of the GPU's kernels, and those of the CPU's on the same arrays in float64."""
    x, gamma, beta, mean, variance = inputs_of(shape, dtype)
    grad = rounded(numbers(*shape, seed=5), dtype)
    if training:
        y, mean, variance = cpu.batchnorm_train(x, gamma, beta, rule, slope)
        ours, theirs = batchnorm.batchnorm_train_grad, cpu.batchnorm_train_grad
    else:
        y = cpu.batchnorm_eval(x, gamma, beta, mean, variance, rule, slope)
        ours, theirs = batchnorm.batchnorm_eval_grad, cpu.batchnorm_eval_grad
    maps = [on_device(each, device, dtype, strided) for each in (grad, x, y)]
    vectors = [on_device(each, device, REAL[dtype], strided) for each in (gamma, mean, variance)]
    return ours(*maps, *vectors, rule, slope), theirs(grad, x, y, gamma, mean, variance, rule, slope)


@shapes
@rules
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("dtype", DTYPES)
def test_gradients_against_the_cpu(shape, rule, training, dtype, gpu_device):
    found, wanted = gradients(shape, rule, 0.1, dtype, gpu_device, training)
    for name, one, other in zip(("dx", "dgamma", "dbeta"), found, wanted, strict=True):
        kind = dtype if name == "dx" else REAL[dtype]
        assert_result(one, other, gpu_device, kind, name, factor=4)


@pytest.mark.parametrize("training", [True, False])
def test_gaps_in_memory(training, gpu_device):
    found, wanted = gradients((3, 5, 4, 8), STANDARD, 0.1, "float64", gpu_device, training, strided=True)
    for one, other in zip(found, wanted, strict=True):
        assert_result(one, other, gpu_device, "float64")
    x, *vectors = inputs_of((3, 5, 4, 8))
    arrays = on_gpu(x, vectors, gpu_device, "float64", strided=True)
    y = batchnorm.batchnorm_train(*arrays[:3], STANDARD, 0.1)[0]
    assert_result(y, naive.batchnorm_standard(x, *vectors[:2], slope=0.1), gpu_device, "float64")
    y = batchnorm.batchnorm_eval(*arrays, STANDARD, 0.1)
    assert_result(y, naive.batchnorm_standard(x, *vectors, slope=0.1), gpu_device, "float64")


@slopes
@pytest.mark.parametrize("shape", [(2, 3, 5, 4), (11, 3)], ids=str)
@pytest.mark.parametrize("training", [True, False])
def test_gradients_against_finite_differences(shape, training, slope, gpu_device):
    """Along a random direction of x, gamma and beta together, for a random gradient of y."""
    x, gamma, beta, mean, variance = inputs_of(shape)
    cotangent, step = numbers(*shape, seed=6), 1e-6

    def forward(x, gamma, beta):
        arrays = on_gpu(x, (gamma, beta, mean, variance), gpu_device, "float64")
        if training:
            return batchnorm.batchnorm_train(*arrays[:3], STANDARD, slope)
        return batchnorm.batchnorm_eval(*arrays, STANDARD, slope), *arrays[3:]

    directions = [numbers(*each.shape, seed=seed) for seed, each in enumerate((x, gamma, beta))]
    pairs = list(zip((x, gamma, beta), directions, strict=True))
    ahead, behind = (forward(*(each + sign * step * along for each, along in pairs))[0] for sign in (1, -1))
    numeric = ((to_cpu(ahead) - to_cpu(behind)) * cotangent).sum() / (2 * step)
    y, *statistics = forward(x, gamma, beta)
    arrays = on_gpu(x, (gamma,), gpu_device, "float64")
    gradient = batchnorm.batchnorm_train_grad if training else batchnorm.batchnorm_eval_grad
    grad = on_device(cotangent, gpu_device, "float64")
    found = gradient(grad, arrays[0], y, arrays[1], *statistics, STANDARD, slope)
    exact = sum((to_cpu(one) * along).sum() for one, along in zip(found, directions, strict=True))
    assert numeric == pytest.approx(exact, rel=1e-7)


@pytest.mark.parametrize("blocks", [1, 3])
@pytest.mark.parametrize("shape", [(1301, 4), (1023, 2)], ids=str)
def test_few_blocks_for_many_rows(shape, blocks, gpu_device, monkeypatch):
    """Threads then have more rows than are loaded together, and not equally many."""
    monkeypatch.setattr(batchnorm, "BLOCKS", blocks)
    x, gamma, beta, *_ = inputs_of(shape)
    arrays = on_gpu(x, (gamma, beta), gpu_device, "float64")
    y, mean, variance = batchnorm.batchnorm_train(*arrays, STANDARD, 0.1)
    assert_result(y, naive.batchnorm_standard(x, gamma, beta, slope=0.1), gpu_device, "float64")
    wanted_mean, squares = naive.channel_statistics(x)
    assert_result(mean, wanted_mean, gpu_device, "float64")
    assert_result(variance, squares / shape[0], gpu_device, "float64")
    for one, other in zip(*gradients(shape, STANDARD, 0.1, "float64", gpu_device, True), strict=True):
        assert_result(one, other, gpu_device, "float64", factor=4)


@pytest.mark.parametrize("mean", [1e3, 1e4])
def test_small_variance_around_a_large_mean(mean, gpu_device):
    # x is exact in float32; E[x^2] - E[x]^2 would be off by 6 % (mean 1,000) and by six times the truth (10,000).
    steps = np.random.default_rng(0).integers(-8, 9, (4, 50, 50, 4))
    x = (mean + steps / 8).astype(np.float32)
    vectors = [on_device(np.full(4, value), gpu_device, "float32") for value in (1, 0)]
    y, found_mean, variance = batchnorm.batchnorm_train(on_device(x, gpu_device, "float32"), *vectors, STANDARD, 1.0)
    wanted_mean, squares = naive.channel_statistics(x.astype(float))
    np.testing.assert_allclose(to_cpu(found_mean), wanted_mean, rtol=2e-7)
    np.testing.assert_allclose(to_cpu(variance), squares / 10_000, rtol=mean * 1e-8)  # 1e-4 at 16,000 deviations
    np.testing.assert_allclose(to_cpu(y), naive.batchnorm_standard(x.astype(float), 1, 0), atol=mean * 5e-7)


def test_statistics_of_float16_are_as_precise_as_those_of_float32(gpu_device):
    x = rounded(numbers(2000, 4) + 30, "float16")
    vectors = [on_device(np.full(4, value), gpu_device, "float32") for value in (1, 0)]
    _, mean, variance = batchnorm.batchnorm_train(on_device(x, gpu_device, "float16"), *vectors, STANDARD, 1.0)
    wanted_mean, squares = naive.channel_statistics(x)
    assert_close(to_cpu(mean), wanted_mean, TOLERANCES["float32"])
    assert_close(to_cpu(variance), squares / 2000, TOLERANCES["float32"])


@rules
def test_a_single_value_per_channel_stays_finite(rule, gpu_device):
    x, gamma, beta = ([[5.0, -7.0]], [2.0, 2.0], [0.5, -0.5])
    arrays = on_gpu(x, (gamma, beta), gpu_device, "float32")
    y, mean, variance = batchnorm.batchnorm_train(*arrays, rule, 1.0)
    np.testing.assert_array_equal(to_cpu(y), [[0.5, -0.5]])
    np.testing.assert_array_equal(to_cpu(mean), [5, -7])
    np.testing.assert_array_equal(to_cpu(variance), [0, 0])
    dx, dgamma, dbeta = batchnorm.batchnorm_train_grad(arrays[0], arrays[0], y, arrays[1], mean, variance, rule, 1.0)
    np.testing.assert_array_equal(to_cpu(dx), [[0, 0]])
    np.testing.assert_array_equal(to_cpu(dgamma), [0, 0])
    np.testing.assert_array_equal(to_cpu(dbeta), [5, -7])


def test_every_order_of_threads(gpu_device):
    x, *vectors = inputs_of((2, 300, 12))
    x, gamma, beta, *_ = on_gpu(x, vectors, gpu_device, "float32")

    def compute():
        y, mean, variance = batchnorm.batchnorm_train(x, gamma, beta, STANDARD, 0.1)
        return y, mean, variance, *batchnorm.batchnorm_train_grad(x, x, y, gamma, mean, variance, STANDARD, 0.1)

    in_every_order(compute)


def test_no_numbers(gpu_device):
    x = empty_map(gpu_device, 0, 3, 4, 8)
    vector = on_device(np.ones(8), gpu_device, "float32")
    assert batchnorm.batchnorm_eval(x, vector, vector, vector, vector, STANDARD, 0.1).shape == x.shape
    dx, dgamma, dbeta = batchnorm.batchnorm_eval_grad(x, x, x, vector, vector, vector, STANDARD, 0.1)
    assert dx.shape == x.shape
    np.testing.assert_array_equal(to_cpu(dgamma), np.zeros(8))
    np.testing.assert_array_equal(to_cpu(dbeta), np.zeros(8))
    with pytest.raises(ValueError, match=r"no mean and variance of a batch without values, shape \(0, 3, 4, 8\)"):
        batchnorm.batchnorm_train(x, vector, vector, STANDARD, 0.1)


def test_parameters_of_another_type_are_refused(gpu_device):
    x = on_device(numbers(6, 4), gpu_device, "float32")
    vector = on_device(np.ones(4), gpu_device, "float64")
    with pytest.raises(TypeError, match="gamma must be float32, not float64"):
        batchnorm.batchnorm_train(x, vector, vector, STANDARD, 0.1)
