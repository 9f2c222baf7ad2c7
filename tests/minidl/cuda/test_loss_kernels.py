"""Softmax and losses on a GPU: rows longer than a warp, more entries than a block, every way to broadcast."""

import itertools

import numpy as np
import pytest

from minidl.device import device_of, to_cpu
from minidl.kernels import cpu, cuda
from minidl.kernels.cuda.losses import MOST_AXES
from tests.minidl import naive
from tests.minidl.cuda.maps import DTYPES, assert_result, empty_map, in_every_order, on_device, rounded
from tests.minidl.harness import assert_close, numbers

LOSSES = ("bce_with_logits", "squared_error")
TOLERANCES = {"float32": 2e-6, "float64": 1e-13}
GRAD = 0.75


def softmax_of(x):
    powers = np.exp(x - x.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (9, 32), (2, 3, 33), (1, 100)], ids=str)
def test_softmax_and_its_logarithm(shape, dtype, gpu_device):
    x, grad = rounded(2 * numbers(*shape), dtype), rounded(numbers(*shape, seed=1), dtype)
    y = softmax_of(x)
    device_x, device_grad = (on_device(each, gpu_device, dtype, strided=True) for each in (x, grad))
    assert_result(cuda.softmax(device_x), y, gpu_device, dtype)
    assert_result(cuda.log_softmax(device_x), np.log(y), gpu_device, dtype, factor=2)
    y = rounded(y, dtype)
    dx = cuda.softmax_grad(device_grad, on_device(y, gpu_device, dtype))
    assert_result(dx, y * (grad - (grad * y).sum(-1, keepdims=True)), gpu_device, dtype, factor=2)
    log_y = rounded(np.log(softmax_of(x)), dtype)
    dx = cuda.log_softmax_grad(device_grad, on_device(log_y, gpu_device, dtype))
    wanted = grad - np.exp(log_y) * grad.sum(-1, keepdims=True)
    assert_result(dx, wanted, gpu_device, dtype, factor=4)


def inputs_of(shape, targets_shape, weights_shape, dtype):
    rng = np.random.default_rng(5)
    x, targets = rounded(2 * numbers(*shape), dtype), rounded(rng.uniform(size=targets_shape), dtype)
    return x, targets, None if weights_shape is None else rounded(rng.uniform(size=weights_shape), dtype)


def check_loss(loss, device, dtype, shape, targets_shape, weights_shape):
    """Sum and gradient against loops and against the CPU's kernel."""
    x, targets, weights = arrays = inputs_of(shape, targets_shape, weights_shape, dtype)
    full_targets = np.broadcast_to(targets, shape)
    full_weights = np.broadcast_to(1.0 if weights is None else weights, shape)
    on_gpu = [None if each is None else on_device(each, device, dtype, strided=True) for each in arrays]
    total = getattr(cuda, loss)(*on_gpu)
    assert (total.shape, total.dtype, device_of(total)) == ((), dtype, device)
    assert_close(total, getattr(naive, loss)(x, full_targets, full_weights), TOLERANCES[dtype])
    dx = getattr(cuda, f"{loss}_grad")(on_device(GRAD, device, dtype), *on_gpu)
    p = 1 / (1 + np.exp(-x)) if loss == "bce_with_logits" else x
    assert_result(dx, GRAD * full_weights * (p - full_targets), device, dtype)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("weights_shape", [None, (), (5,), (3, 1), (7, 1, 1), (7, 3, 5), (7, 1, 5)], ids=str)
def test_losses(loss, dtype, weights_shape, gpu_device):
    check_loss(loss, gpu_device, dtype, (7, 3, 5), (7, 3, 5), weights_shape)


@pytest.mark.parametrize("stretched", list(itertools.product([False, True], repeat=4)))
def test_targets_broadcast_along_any_axes(stretched, gpu_device):
    shape = (2, 3, 4, 13)
    targets_shape = [1 if stretch else size for stretch, size in zip(stretched, shape, strict=True)]
    check_loss("squared_error", gpu_device, "float64", shape, targets_shape, None)


def test_axes_of_one_and_the_most_axes(gpu_device):
    check_loss("squared_error", gpu_device, "float64", (1, 2, 1, 3, 1), (2, 1, 1, 1), (1, 1, 1, 3, 1))
    most = (2,) * MOST_AXES
    check_loss("squared_error", gpu_device, "float64", most, (2, 1) * (MOST_AXES // 2), None)
    with pytest.raises(ValueError, match="takes more than 6 axes"):
        check_loss("squared_error", gpu_device, "float64", (2, *most), (1, 2) * (MOST_AXES // 2) + (1,), None)


def test_losses_of_more_entries_than_a_block(gpu_device):
    for loss in LOSSES:
        check_loss(loss, gpu_device, "float32", (3, 401), (3, 401), (3, 1))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(1, 1), (4, 3), (300, 2), (5, 70)], ids=str)
def test_cross_entropy(shape, dtype, gpu_device):
    x = rounded(2 * numbers(*shape), dtype)
    labels = np.random.default_rng(0).integers(0, shape[1], shape[0])
    for label_type in (np.int64, np.uint8):
        device_labels = on_device(labels, gpu_device, label_type)
        total, saved = cuda.cross_entropy(on_device(x, gpu_device, dtype, strided=True), device_labels)
        assert total.shape == ()
        assert_close(total, naive.cross_entropy(x, labels), TOLERANCES[dtype])
        dx = cuda.cross_entropy_grad(on_device(GRAD, gpu_device, dtype), saved, device_labels)
        wanted = GRAD * (softmax_of(x) - (np.arange(shape[1]) == labels[:, None]))
        assert_result(dx, wanted, gpu_device, dtype, factor=4)


@pytest.mark.parametrize("label", [-1, 3, 1_000_000])
def test_a_label_that_is_no_class_makes_the_loss_nan_and_reads_nothing_foreign(label, gpu_device):
    x = on_device(numbers(4, 3), gpu_device, "float32")
    assert np.isnan(cuda.cross_entropy(x, on_device([0, 1, label, 2], gpu_device, "int32"))[0].item())


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_logits_of_a_thousand(dtype, gpu_device):
    x = np.array([-1000, -1000, 1000, 1000], dtype)
    targets = np.array([0, 1, 0, 0.75], dtype)
    on_gpu = on_device(x, gpu_device, dtype), on_device(targets, gpu_device, dtype), None
    assert cuda.bce_with_logits(*on_gpu).item() == 0 + 1000 + 1000 + 250
    dx = cuda.bce_with_logits_grad(on_device(1, gpu_device, dtype), *on_gpu)
    np.testing.assert_array_equal(to_cpu(dx), [0, -1, 1, 0.25])
    rows = np.array([[-1000, 1000], [1000, 1000]], dtype)
    np.testing.assert_array_equal(to_cpu(cuda.softmax(on_device(rows, gpu_device, dtype))), [[0, 1], [0.5, 0.5]])
    total, _ = cuda.cross_entropy(on_device(rows, gpu_device, dtype), on_device([0, 1], gpu_device, "int32"))
    assert total.item() == pytest.approx(2000 + np.log(2))


def test_every_order_of_threads_gives_the_same_bits(gpu_device):
    x, targets = (on_device(numbers(20, 45, seed=seed), gpu_device, "float32") for seed in (1, 2))
    labels, grad = on_device(np.arange(20), gpu_device, "int32"), on_device(GRAD, gpu_device, "float32")

    def compute():
        total, saved = cuda.cross_entropy(x, labels)
        sums = [getattr(cuda, loss)(x, targets, targets) for loss in LOSSES]
        grads = [getattr(cuda, f"{loss}_grad")(grad, x, targets, targets) for loss in LOSSES]
        softmaxes = cuda.softmax(x), cuda.softmax_grad(x, targets), cuda.log_softmax_grad(x, targets)
        return [total, saved, cuda.cross_entropy_grad(grad, saved, labels), *sums, *grads, *softmaxes]

    in_every_order(compute)


def test_no_entries_cost_nothing(gpu_device):
    x = empty_map(gpu_device, 0, 4)
    for loss in LOSSES:
        assert getattr(cuda, loss)(x, x, None).item() == 0
    assert cuda.cross_entropy(x, on_device([], gpu_device, "int32"))[0].item() == 0


def test_both_packages_have_the_same_functions():
    assert cuda.__all__ == cpu.__all__
