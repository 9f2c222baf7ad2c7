"""The choice of a way: by shape and setting alone, enough blocks on small maps, settings that are obeyed or refused."""

import threading

import pytest

from minidl.kernels.cuda import settings
from minidl.kernels.cuda.conv_choice import (
    MULTIPROCESSORS,
    Plan,
    choose,
    forward_product,
    grad_input_product,
    grad_weight_product,
    partial_sums,
)
from minidl.kernels.cuda.settings import cuda_settings

SMALL_MAP = forward_product((3, 3, 512, 1024), (1, 13, 13, 1024))
LARGE_MAP = forward_product((3, 3, 64, 128), (8, 104, 104, 128))
FEW_CHANNELS = forward_product((3, 3, 3, 8), (1, 40, 40, 8))


def test_sizes_of_the_three_products():
    weight, x, y = (3, 2, 5, 7), (2, 9, 8, 5), (2, 5, 4, 7)
    forward = forward_product(weight, y)
    assert (forward.rows, forward.columns, forward.terms, forward.count) == (40, 7, 30, 1)
    by_input = grad_input_product(weight, x, (2, 2))  # four phases of at most 5x4 pixels and 6 / 4 taps
    assert (by_input.rows, by_input.columns, by_input.terms, by_input.count) == (40, 5, 11, 4)
    by_weight = grad_weight_product(weight, y)
    assert (by_weight.rows, by_weight.columns, by_weight.terms, by_weight.count) == (30, 7, 40, 1)


@pytest.mark.parametrize("tensor", [False, True])
def test_a_small_map_keeps_every_multiprocessor_busy(tensor):
    plan = choose(SMALL_MAP, "auto", tensor)
    blocks = -(-169 // plan.tile[0]) * -(-1024 // plan.tile[1]) * plan.parts
    assert plan.way == ("tensor" if tensor else "blocked")
    assert plan.parts > 1
    assert blocks >= MULTIPROCESSORS
    assert partial_sums(SMALL_MAP, plan) == plan.parts * 169 * 1024


def test_a_large_map_takes_large_tiles_and_no_parts():
    assert choose(LARGE_MAP, "auto", False) == Plan("blocked", (128, 128))
    assert partial_sums(LARGE_MAP, choose(LARGE_MAP, "auto", False)) == 0


def test_few_channels_do_not_fill_a_block_of_registers():
    assert choose(FEW_CHANNELS, "auto", False).way == "plain"


def test_a_setting_is_obeyed_where_it_can_be():
    for product in (SMALL_MAP, LARGE_MAP, FEW_CHANNELS):
        for way in ("plain", "blocked", "tensor"):
            assert choose(product, way, True).way == way
        assert choose(product, "tensor", False) == choose(product, "auto", False)


def test_only_sums_that_can_be_split_are_split():
    assert choose(SMALL_MAP, "plain", False).parts == 1
    assert choose(grad_input_product((1, 1, 4, 4096), (1, 2, 2, 4), (1, 1)), "auto", True).parts == 1
    assert choose(grad_weight_product((1, 1, 3, 8), (1, 400, 400, 8)), "plain", False).parts > 1


def test_settings_hold_for_a_block_and_a_thread():
    seen = []
    with cuda_settings(precision="tf32"), cuda_settings(convolution="plain"):
        assert settings.current() == settings.CudaSettings("tf32", "plain")
        other = threading.Thread(target=lambda: seen.append(settings.current()))
        other.start()
        other.join()
    assert seen == [settings.CudaSettings()]
    with pytest.raises(RuntimeError, match="inside"), cuda_settings(convolution="plain"):
        raise RuntimeError("inside")
    assert settings.current() == settings.CudaSettings("fp32", "auto")


@pytest.mark.parametrize("changes", [{"precision": "fp8"}, {"convolution": "fast"}])
def test_unknown_settings_are_refused(changes):
    with pytest.raises(ValueError, match="must be one of"), cuda_settings(**changes):
        pass
