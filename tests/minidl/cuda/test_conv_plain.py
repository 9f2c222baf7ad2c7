"""Convolution in plain tiles against loops: every kind of shape and number type, three orders of threads, slices."""

import pytest

from minidl.kernels.cuda import conv_plain
from tests.minidl.cuda.conv_cases import (
    SLICES,
    SMALL,
    check_gradients_of_the_operation,
    check_slices,
    check_way,
    checked,
    in_three_orders,
)

TILE = 16, 16
LARGE = [  # more than one tile of pixels, channels and terms in each of the three products
    (2, 9, 11, 18, (3, 3), 19, (1, 1), (1, 1)),
    (2, 11, 13, 20, (3, 2), 17, (2, 1), (1, 0)),
]


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("case", SMALL, ids=str)
def test_small_shapes(case, dtype, gpu_device):
    check_way(conv_plain, case, gpu_device, dtype, TILE)


@pytest.mark.parametrize("case", LARGE, ids=str)
@pytest.mark.parametrize("parts", [1, 3, 20])
def test_many_tiles_in_any_order_of_threads(case, parts, gpu_device):
    in_three_orders(lambda: check_way(conv_plain, case, gpu_device, "float32", TILE, (1, parts)), gpu_device)


@pytest.mark.parametrize("channels", SLICES, ids=str)
def test_slices_of_channels_and_what_follows(channels, gpu_device):
    check_slices(conv_plain, gpu_device, TILE, *channels)


@pytest.mark.parametrize("case", [SMALL[4], SMALL[7], LARGE[0]], ids=str)
def test_memory_and_barriers(case, gpu_device):
    with checked(gpu_device):
        check_way(conv_plain, case, gpu_device, "float32", TILE, (1, 2))


def test_gradients_of_the_operation(gpu_device):
    check_gradients_of_the_operation("plain", 3, 4, gpu_device)
