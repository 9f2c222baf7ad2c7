"""Sums on a GPU: more numbers than one block takes, rows and columns beyond a tile, the same bits in every order."""

import math

import numpy as np
import pytest

from minidl.device import device_of, to_cpu
from minidl.kernels.cuda import reduce
from minidl.kernels.cuda.reduce import sum_all, sum_rows
from tests.minidl.cuda.maps import DTYPES, empty_map, in_every_order, on_device, rounded
from tests.minidl.harness import assert_close, numbers

TOLERANCES = {"float16": 1e-6, "float32": 1e-6, "float64": 1e-14}  # sums of float16 numbers are float32


def real_of(dtype):
    return "float64" if dtype == "float64" else "float32"


def columns(rows):
    return np.array([math.fsum(column) for column in rows.T])


@pytest.mark.parametrize("strided", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(), (1,), (5, 7), (256,), (3, 11, 100)], ids=str)
def test_sum_of_all_numbers(shape, dtype, strided, gpu_device):
    x = rounded(numbers(*shape) + 1, dtype)
    total = sum_all(on_device(x, gpu_device, dtype, strided))
    assert (total.shape, total.dtype, device_of(total)) == ((), real_of(dtype), gpu_device)
    assert_close(total, math.fsum(x.ravel()), TOLERANCES[dtype])


def test_more_numbers_than_all_blocks_together_take_at_once(gpu_device, monkeypatch):
    monkeypatch.setattr(reduce, "MOST_PARTS", 3)
    x = rounded(numbers(2000), "float32")
    assert_close(sum_all(on_device(x, gpu_device, "float32")), math.fsum(x), 1e-5)


@pytest.mark.parametrize("strided", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(1, 1), (5, 3), (8, 32), (9, 33), (600, 5), (300, 70)], ids=str)
def test_sum_of_rows(shape, dtype, strided, gpu_device):
    x = rounded(numbers(*shape) + 1, dtype)
    total = sum_rows(on_device(x, gpu_device, dtype, strided))
    assert (total.dtype, device_of(total)) == (real_of(dtype), gpu_device)
    assert_close(total, columns(x), TOLERANCES[dtype])


def test_parts_of_parts_of_rows(gpu_device, monkeypatch):
    monkeypatch.setattr(reduce, "ROWS_PER_PART", 4)
    x = rounded(numbers(70, 3), "float64")  # 18 parts, then 5, 2 and 1
    assert_close(sum_rows(on_device(x, gpu_device, "float64")), columns(x), 1e-14)


def test_float16_sums_beyond_its_largest_number(gpu_device):
    x = on_device(np.full((300, 2), 1000), gpu_device, "float16")
    assert sum_all(x).item() == 600_000
    np.testing.assert_array_equal(to_cpu(sum_rows(x)), [300_000, 300_000])


def test_every_order_of_threads_gives_the_same_bits(gpu_device):
    x = on_device(numbers(300, 40), gpu_device, "float32")
    in_every_order(lambda: (sum_all(x), sum_rows(x)))


def test_no_numbers(gpu_device):
    assert sum_all(empty_map(gpu_device, 0, 3)).item() == 0
    np.testing.assert_array_equal(to_cpu(sum_rows(empty_map(gpu_device, 0, 3))), [0, 0, 0])
