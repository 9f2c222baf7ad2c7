"""Which device a run takes place on, which kernels an array gets, and what is said where a device is missing."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest

from minidl import Tensor, device, ops
from minidl.device import (
    DeviceError,
    array_library,
    array_module,
    device_of,
    kernels_for,
    resolve_device,
    to_cpu,
    to_device,
)
from minidl.kernels import cpu, cuda


def test_names():
    assert resolve_device("cpu") == "cpu"
    assert resolve_device("auto") in ("cpu", "cuda")
    with pytest.raises(DeviceError, match="unknown device 'tpu': choose one of auto, cpu, cuda, emulated"):
        resolve_device("tpu")


def test_numpy_arrays_and_their_kernels():
    assert array_module(np.ones(2)) is np
    assert array_module(np.float32(2)) is np
    assert device_of(np.ones(2)) == "cpu"
    assert kernels_for(np.ones(2)) is cpu


def test_arrays_go_to_a_gpu_and_back(gpu_device):
    numbers = np.arange(6, dtype=np.float32).reshape(2, 3)
    there = to_device(numbers, gpu_device)
    assert device_of(there) == gpu_device
    assert array_module(there) is array_library(gpu_device)
    assert kernels_for(there) is cuda
    assert to_device(there, gpu_device) is there
    np.testing.assert_array_equal(to_cpu(there), numbers)
    np.testing.assert_array_equal(to_device(there, "cpu"), numbers)
    assert to_cpu(numbers) is numbers
    with pytest.raises(TypeError):  # never by accident
        np.asarray(there)


def fake_cupy(monkeypatch, count):
    """Put a library in CuPy's place whose driver sees ``count`` cards, or raises it where it is an error."""

    class CUDARuntimeError(RuntimeError):
        pass

    def get_device_count():
        if isinstance(count, str):
            raise CUDARuntimeError(count)
        return count

    runtime = SimpleNamespace(getDeviceCount=get_device_count, CUDARuntimeError=CUDARuntimeError)
    monkeypatch.setitem(sys.modules, "cupy", SimpleNamespace(cuda=SimpleNamespace(runtime=runtime)))


def test_a_card_is_taken_where_there_is_one(monkeypatch):
    fake_cupy(monkeypatch, 1)
    assert resolve_device("auto") == resolve_device("cuda") == "cuda"


def test_what_is_missing_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)  # importing it fails
    with pytest.raises(DeviceError, match=r"'cuda': CuPy cannot be imported .*: pip install 'yolov3-from-scratch\["):
        resolve_device("cuda")
    fake_cupy(monkeypatch, "cudaErrorInsufficientDriver")
    with pytest.raises(DeviceError, match=r"no NVIDIA driver answers .cudaErrorInsufficientDriver.: install one"):
        resolve_device("cuda")
    fake_cupy(monkeypatch, 0)
    with pytest.raises(DeviceError, match="no NVIDIA GPU is visible: use --device emulated or cpu"):
        resolve_device("cuda")
    assert resolve_device("auto") == "cpu"
    monkeypatch.setattr(device.shutil, "which", lambda program: None)
    with pytest.raises(DeviceError, match=r"compiles CUDA kernels with g\+\+, which is not installed"):
        resolve_device("emulated")
    monkeypatch.setattr(device.sys, "platform", "darwin")
    with pytest.raises(DeviceError, match="the emulator runs on Linux only"):
        resolve_device("emulated")


@pytest.mark.parametrize("kernels", [cpu, cuda], ids=["cpu", "cuda"])
def test_every_kernel_is_a_function_of_arrays_with_a_docstring(kernels):
    assert len(kernels.__all__) > 15
    for name in kernels.__all__:
        assert getattr(kernels, name).__doc__, name


def test_both_devices_have_the_same_kernels():
    assert set(cpu.__all__) == set(cuda.__all__)


def test_every_operation_is_documented_and_exported():
    for name in ops.__all__:
        assert getattr(ops, name).__doc__, name
    assert repr(ops.add(Tensor([1.0]), 1)) == "Tensor([2.], from add)"
