"""Batch norm: loops, both rules, running statistics, precision, chunks and threads, and the original's own numbers."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from minidl import Tensor, get_num_threads, nn, no_grad, ops, set_num_threads
from minidl.gradcheck import gradcheck
from minidl.nn import DARKNET_CPU, STANDARD
from minidl.optim import SGD, decay_groups
from tests.minidl import naive
from tests.minidl.harness import assert_close, check_operation, numbers

ORACLES = {"standard": naive.batchnorm_standard, "darknet-cpu": naive.batchnorm_darknet}
SHAPES = [(2, 3, 5, 4), (1, 1, 7, 3), (6, 2), (2, 8, 8, 1)]


def inputs_of(shape, seed=0):
    channels = shape[-1]
    gamma = numbers(channels, seed=seed + 1) + 0.2
    return numbers(*shape, seed=seed) * 2 + 1, gamma, numbers(channels, seed=seed + 2)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("slope", [1.0, 0.1])
def test_training(shape, slope, device):
    check_operation(
        lambda *tensors: ops.batchnorm(*tensors, slope=slope)[0],
        inputs_of(shape),
        lambda x, gamma, beta: naive.batchnorm_standard(x, gamma, beta, slope=slope),
        device,
    )


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("slope", [1.0, 0.1])
@pytest.mark.parametrize("rule", [STANDARD, DARKNET_CPU], ids=lambda rule: rule.name)
def test_evaluation(shape, slope, rule, device):
    mean, variance = numbers(shape[-1], seed=7), np.abs(numbers(shape[-1], seed=8)) + 0.1
    check_operation(
        lambda *tensors: ops.batchnorm(
            *tensors, mean.astype(tensors[0].dtype), variance.astype(tensors[0].dtype), rule, slope
        )[0],
        inputs_of(shape),
        lambda x, gamma, beta: ORACLES[rule.name](x, gamma, beta, mean, variance, slope),
        device,
    )


@pytest.mark.parametrize("slope", [1.0, 0.1])
def test_training_by_the_original_rule(slope, device):
    # Its backward pass is not the exact gradient of its forward pass (spec 3.2): golden numbers check it below.
    check_operation(
        lambda *tensors: ops.batchnorm(*tensors, rule=DARKNET_CPU, slope=slope)[0],
        inputs_of((2, 3, 5, 4)),
        lambda x, gamma, beta: naive.batchnorm_darknet(x, gamma, beta, slope=slope),
        device,
        gradients=False,
    )


def test_statistics_returned_are_the_mean_and_the_biased_variance():
    x, gamma, beta = (Tensor(each) for each in inputs_of((2, 3, 5, 4)))
    for rule in (STANDARD, DARKNET_CPU):
        _, mean, variance = ops.batchnorm(x, gamma, beta, rule=rule)
        wanted_mean, squares = naive.channel_statistics(x.data)
        np.testing.assert_allclose(mean, wanted_mean, rtol=1e-12)
        np.testing.assert_allclose(variance, squares / 30, rtol=1e-12)


def test_given_statistics_receive_no_gradient_and_are_constants():
    x = Tensor(np.array([[1.0], [5.0]]), requires_grad=True)
    gamma, beta = Tensor(np.array([3.0])), Tensor(np.array([0.5]))
    y, *_ = ops.batchnorm(x, gamma, beta, np.array([1.0]), np.array([4.0 - 1e-5]))
    np.testing.assert_allclose(y.data, [[0.5], [6.5]])
    y.backward(np.array([[1.0], [10.0]]))
    np.testing.assert_allclose(x.grad, [[1.5], [15.0]])


def test_layer_in_training_and_evaluation():
    layer = nn.BatchNorm(2, momentum=0.25)
    x = np.array([[1, 10], [3, 10], [5, 40]], np.float32)  # mean 3, 20; unbiased variance 4, 300
    layer(Tensor(x))
    np.testing.assert_allclose(layer.running_mean.data, [0.75, 5])
    np.testing.assert_allclose(layer.running_variance.data, [0.75 + 1, 0.75 + 75], rtol=1e-6)
    layer.eval()
    y = layer(Tensor(x)).data
    np.testing.assert_allclose(y, (x - [0.75, 5]) / np.sqrt(np.array([1.75, 75.75]) + 1e-5), rtol=1e-6)
    np.testing.assert_allclose(layer.running_mean.data, [0.75, 5])
    assert layer.running_variance.data.dtype == np.float32


def test_the_mode_of_a_layer_is_its_own_and_not_that_of_no_grad():
    layer, x = nn.BatchNorm(1), Tensor(np.array([[1.0], [3.0]], np.float32))
    with no_grad():
        np.testing.assert_allclose(layer(x).data, [[-1], [1]], rtol=1e-4)
    np.testing.assert_allclose(layer.running_mean.data, [0.2], rtol=1e-6)
    layer.eval()
    assert layer(x).requires_grad


def test_running_statistics_keep_no_history_alive():
    layer = nn.BatchNorm(3)
    layer(Tensor(numbers(4, 3).astype(np.float32), requires_grad=True))
    assert isinstance(layer.running_mean.data, np.ndarray)
    assert isinstance(layer.running_variance.data, np.ndarray)


def test_a_single_value_per_channel_stays_finite():
    layer = nn.BatchNorm(2, rule=DARKNET_CPU)
    y = layer(Tensor(np.array([[5.0, -7.0]], np.float32)))
    np.testing.assert_array_equal(y.data, [[0, 0]])
    assert np.isfinite(layer.running_variance.data).all()


@pytest.mark.parametrize("mean", [1e3, 1e4])
def test_small_variance_around_a_large_mean(mean):
    # x is exact in float32; E[x^2] - E[x]^2 would be off by 6 % (mean 1,000) and by six times the truth (10,000).
    steps = np.random.default_rng(0).integers(-8, 9, (4, 50, 50, 5))
    x = (mean + steps / 8).astype(np.float32)
    y, found_mean, variance = ops.batchnorm(Tensor(x), Tensor(np.ones(5)), Tensor(np.zeros(5)))
    wanted_mean, squares = naive.channel_statistics(x.astype(float))
    np.testing.assert_allclose(found_mean, wanted_mean, rtol=2e-7)
    np.testing.assert_allclose(variance, squares / 10_000, rtol=2e-5)
    np.testing.assert_allclose(y.data, naive.batchnorm_standard(x.astype(float), 1, 0), atol=mean * 5e-7)


@pytest.mark.parametrize("shape", [(3, 41, 43, 24), (8, 64, 64, 8), (70_001, 3)], ids=str)
def test_chunks_and_threads(shape):
    x, gamma, beta = inputs_of(shape)
    cotangent = numbers(*shape, seed=5)
    wanted = _training_gradients(x, gamma, beta, cotangent)
    before = get_num_threads()
    try:
        for threads in (1, 2, 3):
            set_num_threads(threads)
            first, again = (_train_once(x, gamma, beta, cotangent) for _ in range(2))
            for one, other, exact in zip(first, again, wanted, strict=True):
                np.testing.assert_array_equal(one, other)  # bit for bit
                assert_close(one, exact, 2e-5, f"{threads} threads")
    finally:
        set_num_threads(before)


def _training_gradients(x, gamma, beta, cotangent, slope=0.1):
    """Result and gradients by the formulas of Ioffe and Szegedy 2015, section 3, whole arrays at a time."""
    axes = tuple(range(x.ndim - 1))
    count = x.size // x.shape[-1]
    centred = x - x.mean(axes)
    root = np.sqrt((centred**2).mean(axes) + 1e-5)
    y = gamma * centred / root + beta
    d = np.where(y > 0, cotangent, slope * cotangent)
    grad_variance = (d * gamma * centred).sum(axes) * -0.5 / root**3
    grad_mean = -(d * gamma).sum(axes) / root
    grad_x = d * gamma / root + grad_variance * 2 * centred / count + grad_mean / count
    return np.where(y > 0, y, slope * y), grad_x, (d * centred / root).sum(axes), d.sum(axes)


def _train_once(x, gamma, beta, cotangent):
    tensors = [Tensor(each.astype(np.float32), requires_grad=True) for each in (x, gamma, beta)]
    y, *_ = ops.batchnorm(*tensors, slope=0.1)
    y.backward(cotangent.astype(np.float32))
    return (y.data, *(tensor.grad for tensor in tensors))


def test_layer_gradients_through_convolution_and_batchnorm():
    convolution = nn.Conv2d(2, 3, 3, bias=False, rng=np.random.default_rng(0)).astype(np.float64)
    layer = nn.BatchNorm(3, slope=0.1).astype(np.float64)
    x = numbers(2, 5, 4, 2)
    gradcheck(lambda x, *_: layer(convolution(x)), x, convolution.weight, *layer.parameters())


# ---- The original program's numbers (spec appendix D), channels first in the file, its CPU rule ----

CONV, SHAPE_IN, SHAPE_OUT = (3, 2, 3, 3), (2, 2, 5, 5), (2, 3, 3, 3)  # weight; input and output, all channels first


@pytest.fixture(scope="module")
def original(golden):
    """The arrays of the file by name, images and weights channels last."""
    data = json.loads((golden / "functions.json").read_text())
    arrays = {name: np.array(value, np.float32) for name, value in data.items() if name.startswith("conv_")}
    for name in ("conv_in", "conv_prevdelta0", "conv_prevdelta1"):
        arrays[name] = arrays[name].reshape(SHAPE_IN).transpose(0, 2, 3, 1)
    for name in ("conv_out_train", "conv_dout", "conv_delta_after_bn", "conv_out_infer_after"):
        arrays[name] = arrays[name].reshape(SHAPE_OUT).transpose(0, 2, 3, 1)
    for name in ("conv_w", "conv_wupd", "conv_w_step1", "conv_wupd_step1", "conv_w_step2_nograd"):
        arrays[name] = arrays[name].reshape(CONV).transpose(2, 3, 1, 0)
    arrays["conv_images"] = arrays.pop("conv_in")
    return SimpleNamespace(**{name.removeprefix("conv_"): value for name, value in arrays.items()})


@pytest.fixture
def block(original):
    """Convolution, batch norm and leaky ReLU with the original's parameters."""
    convolution = nn.Conv2d(2, 3, 3, stride=2, bias=False)
    layer = nn.BatchNorm(3, momentum=0.01, slope=0.1, rule=DARKNET_CPU)
    convolution.weight.data = original.w.copy()
    layer.gamma.data, layer.beta.data = original.scales0.copy(), original.biases0.copy()
    layer.running_mean.data, layer.running_variance.data = original.rmean0.copy(), original.rvar0.copy()
    return nn.Sequential(convolution, layer)


def test_golden_forward_and_running_statistics(original, block):
    assert_close(block(Tensor(original.images)).data, original.out_train, 1e-6)
    layer = block.layers[1]
    np.testing.assert_allclose(layer.running_mean.data, original.rmean1, rtol=1e-5)
    np.testing.assert_allclose(layer.running_variance.data, original.rvar1, rtol=1e-6)


def test_golden_batch_statistics(original, block):
    convolved = block.layers[0](Tensor(original.images))
    _, mean, variance = ops.batchnorm(convolved, *block.layers[1].parameters(), rule=DARKNET_CPU)
    np.testing.assert_allclose(mean, original.mean, rtol=1e-5)
    np.testing.assert_allclose(variance * 18 / 17, original.var, rtol=1e-6)  # the original divides by N - 1


def test_golden_backward(original, block):
    # The original's "delta" is minus the gradient, and what an earlier layer has received already is added to.
    x = Tensor(original.images, requires_grad=True)
    convolution, layer = block.layers
    middle = Tensor(convolution(x).data, requires_grad=True)
    layer(middle).backward(-original.dout)
    assert_close(-middle.grad, original.delta_after_bn, 2e-6)
    assert_close(-layer.beta.grad, original.bupd, 1e-5)
    assert_close(-layer.gamma.grad, original.supd, 1e-5)
    block.zero_grad()
    through_block = (block(x) * Tensor(-original.dout)).sum()
    through_skip = (x * Tensor(-original.prevdelta0)).sum()
    (through_block + through_skip).backward()
    assert_close(-convolution.weight.grad, original.wupd, 2e-6)
    assert_close(-x.grad, original.prevdelta1, 2e-6)


def test_golden_updates_and_inference_afterwards(original, block):
    convolution, layer = block.layers
    images = 2  # the original divides by the batch, we sum over it
    optimizer = SGD(decay_groups(block, decay=0.01), learning_rate=0.1, momentum=0.9)
    block(Tensor(original.images)).backward(-original.dout / images)
    optimizer.step()
    assert_close(convolution.weight.data, original.w_step1, 1e-6)
    assert_close(layer.beta.data, original.b_step1, 1e-6)
    assert_close(layer.gamma.data, original.s_step1, 1e-6)
    # The original keeps momentum times minus the velocity, for the sum over the batch.
    velocity = optimizer.state_dict()["0.velocity"]
    assert_close(-0.9 * images * velocity, original.wupd_step1, 2e-6)
    for parameter in block.parameters():
        parameter.grad = np.zeros_like(parameter.data)
    optimizer.step()
    assert_close(convolution.weight.data, original.w_step2_nograd, 1e-6)
    block.eval()
    assert_close(block(Tensor(original.images)).data, original.out_infer_after, 2e-6)


@pytest.mark.parametrize("rule", nn.BATCHNORM_RULES.values(), ids=lambda rule: rule.name)
def test_the_variance_for_a_divisor_is_the_divisor_backwards(rule):
    variances = np.array([0.0, 1e-12, 1e-7, 1e-3, 1.0, 50.0])
    np.testing.assert_allclose(rule.variance_for(rule.divisor(variances)), variances, rtol=1e-6, atol=1e-18)


def test_the_three_rules_by_hand():
    variance = 1e-4
    wanted = {"standard": (1.1e-4) ** 0.5, "darknet-cpu": 0.01 + 1e-6, "opencv": (1.01e-4) ** 0.5}
    assert {name: rule.divisor(variance) for name, rule in nn.BATCHNORM_RULES.items()} == pytest.approx(wanted)


def test_no_variance_gives_a_divisor_below_that_of_zero():
    for rule in nn.BATCHNORM_RULES.values():
        assert rule.variance_for(rule.divisor(0.0) / 2) < 0
