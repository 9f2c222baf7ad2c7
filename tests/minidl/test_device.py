"""Which device a run takes place on, and which kernels an array gets."""

import numpy as np
import pytest

from minidl import Tensor, ops
from minidl.device import DeviceError, array_module, kernels_for, resolve_device
from minidl.kernels import cpu


def test_names():
    assert resolve_device("cpu") == "cpu"
    assert resolve_device("auto") in ("cpu", "cuda")
    with pytest.raises(DeviceError, match="unknown device 'tpu': choose one of auto, cpu, cuda"):
        resolve_device("tpu")


def test_numpy_arrays_and_their_kernels(device):
    if device == "cpu":
        assert array_module(np.ones(2)) is np
        assert array_module(np.float32(2)) is np
        assert kernels_for(np.ones(2)) is cpu


def test_every_kernel_is_a_function_of_arrays_with_a_docstring():
    assert len(cpu.__all__) > 15
    for name in cpu.__all__:
        assert getattr(cpu, name).__doc__, name


def test_every_operation_is_documented_and_exported():
    for name in ops.__all__:
        assert getattr(ops, name).__doc__, name
    assert repr(ops.add(Tensor([1.0]), 1)) == "Tensor([2.], from add)"
