"""Which way a convolution goes: costs by hand, and that shapes, settings and threads alone decide."""

import numpy as np
import pytest

from minidl import get_num_threads, set_num_threads
from minidl.inference import FuseSettings
from minidl.kernels.cpu import choice
from minidl.kernels.cpu.choice import Way, choose

EVERYTHING = FuseSettings()


@pytest.fixture(autouse=True)
def two_threads():
    before = get_num_threads()
    set_num_threads(2)
    yield
    set_num_threads(before)


@pytest.fixture
def round_constants(monkeypatch):
    """Constants for sums by hand, whatever the measured ones are."""
    values = {"WEIGHT_COST": 64, "MOVE_COST": 20, "TILES_LOST": 6, "TILE_NUMBERS": 1_000_000, "SHARED_TILES": 20}
    values |= {"SMALL_PRODUCT": 1_000_000, "FILTERS_AT_ONCE": (64, 32), "MANY_KERNELS": 10_000}
    values |= {"FEW_NUMBERS": 4000, "MANY_WEIGHTS": 100, "WINDOW_BLOCK": 1, "POINTWISE_BLOCK": 2, "SHARED_BLOCK": 3}
    for name, value in values.items():
        assert hasattr(choice, name)
        monkeypatch.setattr(choice, name, value)


def test_costs_by_hand(round_constants):
    """64 to 64 channels on 32x32 pixels: 64 tiles of 36 places, or 256 of 16."""
    products, transforms = 2 * 36 * (64 + 6) * 64 * 64, 2 * 64 * 36 * (36 * 64 + 16 * 64)
    moves, weights = 20 * 64 * (36 * 64 + 16 * 64), 64 * 36 * 64 * 64
    assert choice._winograd_cost(4, 64, 64, (1, 32, 32, 64)) == products + transforms + moves + weights == 49_676_288
    assert choice._winograd_cost(2, 64, 64, (1, 32, 32, 64)) == 55_574_528  # the window matrix: 77,856,768
    # 64 tiles fit at once, and are cut in two for the two threads: 4 of the 8 rows of tiles.
    weight, output = (3, 3, 64, 64), (1, 32, 32, 64)
    assert choose(weight, 1, 1, output, EVERYTHING) == Way(4, False, 32, 64)
    assert choose(weight, 1, 1, output, FuseSettings(winograd=(2,))) == Way(2, False, 128, 64)
    assert choose(weight, 1, 1, output, FuseSettings(winograd=())) == Way(None, False, 1)
    set_num_threads(1)
    assert choose(weight, 1, 1, output, EVERYTHING) == Way(4, False, 64, 64)


def test_shared_kernels_by_hand(round_constants):
    """128 to 128 channels are many kernels: spans of at most 20 tiles, of 8 to a row, so 2 rows of 8."""
    weight, output = (3, 3, 128, 128), (1, 32, 32, 128)
    assert choose(weight, 1, 1, output, EVERYTHING) == Way(4, True, 16, 64)
    alone = choose(weight, 1, 1, output, FuseSettings(share_weights=False))
    assert alone == Way(4, False, 32, 64)  # 1,000,000 // (36 * 256) = 108 tiles for one thread; 64 in two halves


def test_window_matrix_by_hand(round_constants):
    """Pixels times numbers of a window against 4000, weights against 100."""
    assert choose((1, 1, 40, 8), 1, 0, (1, 10, 10, 8), EVERYTHING) == Way(None, True, 3)
    assert choose((1, 1, 40, 8), 1, 0, (1, 10, 10, 8), FuseSettings(share_weights=False)) == Way(None, False, 2)
    assert choose((1, 1, 41, 8), 1, 0, (1, 10, 10, 8), EVERYTHING) == Way(None, False, 2)
    assert choose((1, 1, 40, 2), 1, 0, (1, 10, 10, 2), EVERYTHING) == Way(None, False, 2)
    assert choose((3, 3, 40, 8), 2, 1, (1, 10, 10, 8), EVERYTHING) == Way(None, False, 1)


@pytest.mark.parametrize(("size", "stride", "padding"), [(1, 1, 0), (3, 2, 1), (3, 1, 0), (5, 1, 2), (7, 2, 3)])
def test_winograd_is_for_3x3_kernels_with_stride_and_padding_1_alone(size, stride, padding):
    assert choose((3, 3, 64, 64), 1, 1, (1, 52, 52, 64), EVERYTHING).tile is not None
    assert choose((size, size, 64, 64), stride, padding, (1, 52, 52, 64), EVERYTHING).tile is None


def random_cases(count):
    rng = np.random.default_rng(0)
    for _ in range(count):
        channels, filters, height, width = (int(2 ** rng.uniform(0, top)) for top in (12, 12, 7, 7))
        size, stride = [(1, 1), (3, 1), (3, 2)][rng.integers(3)]
        yield (size, size, channels, filters), stride, size // 2, (int(rng.integers(1, 9)), height, width, filters)


def test_every_choice_can_be_carried_out():
    for case in random_cases(300):
        for settings in (EVERYTHING, FuseSettings((2,)), FuseSettings((), False), FuseSettings(share_weights=False)):
            way = choose(*case, settings)
            assert way.tile in (None, *settings.winograd), case
            assert way.at_once >= 1, case
            assert settings.share_weights or not way.shared, case
            if way.tile:
                assert 1 <= way.filters_at_once <= case[0][3], case
                assert way.at_once % -(-case[3][2] // way.tile) == 0, case  # whole rows of tiles


def test_more_channels_than_the_memory_for_one_tile():
    assert choose((3, 3, 50_000, 1), 1, 1, (1, 64, 64, 1), FuseSettings((4,), False)).at_once >= 1


def test_the_same_case_is_decided_the_same_way_whatever_came_before():
    cases = list(random_cases(40))
    forwards = [choose(*case, EVERYTHING) for case in cases]
    set_num_threads(5)
    assert forwards != [choose(*case, EVERYTHING) for case in cases]  # threads are part of the setting
    set_num_threads(2)
    assert [choose(*case, FuseSettings()) for case in reversed(cases)] == forwards[::-1]


@pytest.mark.parametrize("sizes", [(3,), (2, 6), (4, 0)])
def test_other_tiles_are_refused(sizes):
    with pytest.raises(ValueError, match="sizes of tiles must be 2 or 4"):
        FuseSettings(winograd=sizes)
