"""Convolution in blocks of registers against loops: both tiles, sums in parts, channels in fours and not, slices."""

import pytest

from minidl.kernels.cuda import conv_blocked
from tests.minidl.cuda.conv_cases import (
    SLICES,
    SMALL,
    check_gradients_of_the_operation,
    check_slices,
    check_way,
    checked,
    in_three_orders,
)

TILES = (64, 64), (128, 128)
LARGE = [  # more than one tile of each size in rows and columns of the three products, taken together
    (2, 9, 8, 16, (3, 3), 136, (1, 1), (1, 1)),  # all channels in fours
    (1, 12, 11, 134, (1, 1), 70, (1, 1), (0, 0)),  # none
    (1, 11, 25, 132, (2, 1), 3, (1, 2), (1, 0)),  # those of x only
    (3, 13, 14, 17, (3, 3), 68, (2, 2), (1, 1)),  # those of y only
]


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("tile", TILES, ids=str)
@pytest.mark.parametrize("case", SMALL, ids=str)
def test_small_shapes(case, tile, dtype, gpu_device):
    check_way(conv_blocked, case, gpu_device, dtype, tile)


@pytest.mark.parametrize("tile", TILES, ids=str)
@pytest.mark.parametrize("case", LARGE, ids=str)
def test_many_tiles(case, tile, gpu_device):
    check_way(conv_blocked, case, gpu_device, "float64", tile)


@pytest.mark.parametrize("tile", TILES, ids=str)
def test_parts_in_any_order_of_threads(tile, gpu_device):
    case = 2, 9, 8, 17, (3, 3), 72, (2, 1), (1, 0)
    in_three_orders(lambda: check_way(conv_blocked, case, gpu_device, "float32", tile, (3, 5)), gpu_device)


@pytest.mark.parametrize("parts", [1, 2])
@pytest.mark.parametrize("channels", SLICES, ids=str)
def test_slices_of_channels_and_what_follows(channels, parts, gpu_device):
    check_slices(conv_blocked, gpu_device, (64, 64), *channels, parts)


@pytest.mark.parametrize("tile", TILES, ids=str)
@pytest.mark.parametrize("case", [SMALL[4], SMALL[7]], ids=str)
def test_memory_and_barriers(case, tile, gpu_device):
    with checked(gpu_device):
        check_way(conv_blocked, case, gpu_device, "float32", tile, (2, 2))


def test_gradients_of_the_operation(gpu_device):
    check_gradients_of_the_operation("blocked", 4, 8, gpu_device)
