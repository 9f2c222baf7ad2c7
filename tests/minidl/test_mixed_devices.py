"""Inputs on different devices are refused by name; numbers, lists and arrays of the CPU go along where they may."""

import numpy as np
import pytest

from minidl import Tensor, nn, ops
from minidl.device import array_library, device_of, to_cpu, to_device
from tests.minidl.harness import numbers

SHAPES = {  # of the two or three inputs
    "add": [(2, 3), (3,)],
    "subtract": [(2, 3), (3,)],
    "multiply": [(2, 3), (3,)],
    "divide": [(2, 3), (3,)],
    "matmul": [(2, 3), (3, 4)],
    "linear": [(2, 3), (3, 4), (4,)],
    "conv2d": [(1, 3, 3, 2), (3, 3, 2, 1), (1,)],
    "batchnorm": [(4, 2), (2,), (2,)],
    "concat": [(2, 3), (2, 1), (2, 5)],
    "shortcut": [(1, 2, 2, 3), (1, 2, 2, 3)],
}


@pytest.mark.parametrize("name", SHAPES)
def test_tensors_on_different_devices_are_refused(name, gpu_device):
    for place in range(len(SHAPES[name])):
        tensors = [Tensor(numbers(*shape)) for shape in SHAPES[name]]
        tensors[place] = Tensor(to_device(tensors[place].data, gpu_device))
        pair = f"({gpu_device} and cpu|cpu and {gpu_device})"
        with pytest.raises(ValueError, match=f"{name}: the inputs lie on different devices, {pair}; move the model"):
            getattr(ops, name)(*tensors)


def test_a_model_and_images_on_different_devices(gpu_device):
    with pytest.raises(ValueError, match=r"conv2d: .* different devices, cpu and .* model\.to\(device\)"):
        nn.Conv2d(2, 3, 1).to(gpu_device)(Tensor(numbers(1, 4, 4, 2).astype(np.float32)))


def test_an_array_on_a_gpu_is_not_silently_copied_back(gpu_device):
    tensor, array = Tensor(numbers(3)), to_device(np.array([1, 0, 2]), gpu_device)
    for compute in (
        lambda: tensor + array,
        lambda: ops.bce_with_logits(tensor, array),
        lambda: ops.squared_error(tensor, 1, array),
        lambda: ops.cross_entropy(Tensor(numbers(3, 3)), array),
        lambda: tensor[array],
    ):
        with pytest.raises(ValueError, match=f"the inputs lie on different devices, cpu and {gpu_device}"):
            compute()


def test_numbers_lists_and_arrays_of_the_cpu_go_along(gpu_device):
    values = numbers(2, 3).astype(np.float32)
    tensor = Tensor(to_device(values, gpu_device))
    for other in (2, 0.5, np.float64(3), [1, 2, 3], numbers(3, seed=9)):
        for result, wanted in ((tensor * other, values * other), (other - tensor, other - values)):
            assert result.device == gpu_device
            assert result.dtype == np.float32
            np.testing.assert_allclose(to_cpu(result.data), np.asarray(wanted, np.float32), rtol=1e-6)


def test_plain_numbers_are_not_copied():
    tensor = Tensor(to_device(numbers(2, 3), "emulated"), requires_grad=True)
    with array_library("emulated").count() as counts:
        ((2 * tensor + 1) / 3 - 0.5).sum().backward()
        ops.bce_with_logits(tensor, 1, 0.5).backward()
    assert counts.to_device == []
    assert counts.to_host == []


def test_the_gradient_given_must_lie_beside_the_tensor(gpu_device):
    tensor = Tensor(to_device(numbers(3), gpu_device), requires_grad=True)
    with pytest.raises(ValueError, match=f"the gradient lies on the device cpu, the tensor on {gpu_device}"):
        (tensor * 2).backward(np.ones(3))


def test_labels_on_a_gpu_that_are_no_class_make_the_loss_nan(gpu_device):
    logits = Tensor(to_device(numbers(2, 3), gpu_device))
    with pytest.raises(ValueError, match=r"labels must lie in 0\.\.\.2, found 0\.\.\.3"):
        ops.cross_entropy(logits, np.array([0, 3]))
    assert np.isnan(ops.cross_entropy(logits, to_device(np.array([0, 3]), gpu_device)).item())


def test_half_precision_follows_the_maps_and_sums_in_float32(gpu_device):
    half = Tensor(to_device(np.full((2, 400), 400, np.float16), gpu_device), requires_grad=True)
    scale = Tensor(to_device(np.ones((1, 400), np.float32), gpu_device), requires_grad=True)
    total = half.sum()  # 320,000 is beyond float16's 65,504
    assert (total.dtype, total.item()) == (np.float32, 320_000)
    assert half.mean().item() == 400
    assert (half * 2).dtype == np.float16
    (half * scale).sum().backward()
    assert (half.grad.dtype, scale.grad.dtype) == (np.float16, np.float32)
    np.testing.assert_array_equal(to_cpu(scale.grad), np.full((1, 400), 800))
    with pytest.raises(TypeError, match=r"squared_error.* use ops\.cast"):
        ops.squared_error(half, 0)


def test_cast_turns_gradients_back(gpu_device):
    half = Tensor(to_device(np.array([1, 2, 3], np.float16), gpu_device), requires_grad=True)
    wide = ops.cast(half, np.float32)
    assert wide.dtype == np.float32
    wide.backward(to_device(np.array([1, 1 / 3, 2], np.float32), gpu_device))
    assert half.grad.dtype == np.float16
    np.testing.assert_array_equal(to_cpu(half.grad), np.array([1, 1 / 3, 2], np.float16))
    with pytest.raises(TypeError, match="float16 is for GPUs"):
        ops.cast(Tensor([1.0]), np.float16)


def test_where_a_tensor_is(device):
    tensor = Tensor(to_device(np.array([[1.0, 2.5, -3.0]]), device), requires_grad=True)
    assert tensor.device == device
    assert repr(tensor) == "Tensor([[ 1.   2.5 -3. ]])"
    (tensor * tensor).sum().backward()
    assert device_of(tensor.grad) == device
    np.testing.assert_array_equal(to_cpu(tensor.grad), [[2, 5, -6]])
