"""Several processes compute what one would: sums, batch norm, and where a number stopped being finite."""

import threading
from types import SimpleNamespace

import numpy as np
import pytest

from minidl import collective
from minidl.collective import ALONE, Group, current_group, together
from minidl.device import DeviceError, array_library
from minidl.kernels.cuda.emulator.stand_in.cuda.memory import bytes_at
from tests import conftest
from tests.minidl import ranks_compute
from tests.minidl.ranks_compute import SHAPE, SIZES, batchnorm, batchnorm_inputs
from tests.mpi import run_ranks

TOLERANCES = {"float64": 1e-12, "float32": 3e-6}
RUNS = [(2, "cpu"), (3, "cpu"), *((2, device) for device in conftest.tested("emulated"))]


@pytest.fixture(scope="module", params=RUNS, ids=lambda run: f"{run[0]}-{run[1]}")
def ranks(request, tmp_path_factory):
    """What each rank found, a list of {name: array}; they are started once for all tests."""
    count, device = request.param
    folder = tmp_path_factory.mktemp("ranks")
    run_ranks(count, "-m", "tests.minidl.ranks_compute", folder, device)
    found = []
    for rank in range(count):
        with np.load(folder / f"{rank}.npz") as file:
            found.append(dict(file))
    return found


def assert_close(found, expected, tolerance):
    scale = np.abs(expected).max()
    assert np.abs(found - expected).max() <= tolerance * scale


def whole(ranks, name):
    """An array of the whole batch from the parts of it that the ranks have."""
    return np.concatenate([each[name] for each in ranks])


def test_every_rank_knows_the_others(ranks):
    for rank, own in enumerate(ranks):
        assert own["size"] == len(ranks)
        assert own["local"] == rank
        assert own["gathered"].tolist() == [10 * each for each in range(len(ranks))]
        assert own["shared"] == "from rank 0"


@pytest.mark.parametrize("dtype", TOLERANCES)
def test_sums_of_many_arrays(ranks, dtype):
    generators = [np.random.default_rng(rank) for rank in range(len(ranks))]
    for index, size in enumerate(SIZES):
        expected = sum(rng.normal(size=size).astype(dtype) for rng in generators)
        assert_close(ranks[0][f"sum {dtype} {index}"], expected, TOLERANCES[dtype])
        for own in ranks:  # to the last bit: weights that differ would drift apart
            np.testing.assert_array_equal(own[f"sum {dtype} {index}"], ranks[0][f"sum {dtype} {index}"])


@pytest.mark.parametrize("rule", ["standard", "darknet-cpu"])
@pytest.mark.parametrize("dtype", TOLERANCES)
def test_batch_norm_is_that_of_the_whole_batch(ranks, dtype, rule):
    expected = batchnorm(ALONE, "cpu", dtype, rule)
    for name in ("y", "dx"):
        assert_close(whole(ranks, f"{rule} {dtype} {name}"), expected[name], TOLERANCES[dtype])
    for name in ("dgamma", "dbeta", "mean", "variance"):
        for own in ranks:
            assert_close(own[f"{rule} {dtype} {name}"], expected[name], TOLERANCES[dtype])
            np.testing.assert_array_equal(own[f"{rule} {dtype} {name}"], ranks[0][f"{rule} {dtype} {name}"])


def test_batch_norm_by_its_formula(ranks):
    """Not by our own code: the statistics and results of the whole batch from NumPy's mean and variance."""
    x, _, gamma, beta = batchnorm_inputs("float64")
    mean, variance = x.mean(axis=(0, 1, 2)), x.var(axis=(0, 1, 2))
    y = gamma * (x - mean) / np.sqrt(variance + 1e-5) + beta
    assert_close(whole(ranks, "standard float64 y"), np.where(y > 0, y, 0.1 * y), 1e-12)
    count = np.prod(SHAPE[:-1])
    assert_close(ranks[-1]["standard float64 mean"], 0.3 * mean, 1e-12)
    assert_close(ranks[-1]["standard float64 variance"], 0.7 + 0.3 * variance * count / (count - 1), 1e-12)


def test_the_gradient_by_finite_differences(ranks):
    """Of the sum over all ranks: moving one number of one rank changes the statistics of every other."""
    x, grad, gamma, beta = batchnorm_inputs("float64")
    rng, step = np.random.default_rng(1), 1e-6

    def total(x):
        y = gamma * (x - x.mean(axis=(0, 1, 2))) / np.sqrt(x.var(axis=(0, 1, 2)) + 1e-5) + beta
        return (grad * np.where(y > 0, y, 0.1 * y)).sum()

    direction = rng.normal(size=SHAPE)
    numeric = (total(x + step * direction) - total(x - step * direction)) / (2 * step)
    assert (whole(ranks, "standard float64 dx") * direction).sum() == pytest.approx(numeric, rel=1e-7)


def test_statistics_far_from_zero(ranks):
    """With a mean of 1000 the difference of squares would keep two digits in float32, and the batch norm none."""
    x, _, gamma, beta = (each.astype(np.float64) for each in batchnorm_inputs("float32", 1e3))
    y = gamma * (x - x.mean(axis=(0, 1, 2))) / np.sqrt(x.var(axis=(0, 1, 2)) + 1e-5) + beta
    assert_close(whole(ranks, "far y"), np.where(y > 0, y, 0.1 * y), 3e-4)


def test_statistics_of_the_parts_alone_would_differ():
    """The inputs can tell: otherwise the tests above would pass without any exchange."""
    whole_batch = batchnorm(ALONE, "cpu", "float64", "standard")

    class Unsynchronised(Group):
        size, rank = 2, 1

    half = batchnorm(Unsynchronised(), "cpu", "float64", "standard")
    assert np.abs(half["y"] - whole_batch["y"][len(half["y"]) :]).max() > 0.1


def test_all_ranks_learn_where_a_number_stopped_being_finite(ranks):
    for own in ranks:
        if "anomalies" in own:
            forward, backward, nowhere = own["anomalies"].tolist()
            assert forward == "forward poison poison"
            assert backward == "backward poison poison"
            assert nowhere == "none"


# --- alone -------------------------------------------------------------------------------------


def test_alone_a_sum_is_what_it_is():
    array = np.arange(3.0)
    assert ALONE.sum(array) is array
    assert ALONE.mean(array).tolist() == [0, 1, 2]
    ALONE.sum_all([array])
    ALONE.wait()
    assert array.tolist() == [0, 1, 2]
    assert (ALONE.share("a"), ALONE.gather("a"), ALONE.gather_local("a")) == ("a", ["a"], ["a"])


def test_the_group_is_the_threads_own():
    group, seen = Group(), []
    with together(group):
        assert current_group() is group
        thread = threading.Thread(target=lambda: seen.append(current_group()))
        thread.start()
        thread.join()
        with pytest.raises(ZeroDivisionError), together(ALONE):
            raise ZeroDivisionError
        assert current_group() is group
    assert current_group() is ALONE
    assert seen == [ALONE]


def test_buckets_keep_the_order_and_separate_types(monkeypatch):
    monkeypatch.setattr(collective, "BUCKET", 10)
    arrays = [np.zeros(size, dtype) for size, dtype in ((4, "f4"), (6, "f4"), (1, "f4"), (1, "f8"), (50, "f8"))]
    lists = collective.buckets(arrays)
    assert [[each.size for each in bucket] for bucket in lists] == [[4, 6], [1], [1], [50]]
    assert sum(SIZES) > ranks_compute.BUCKET  # several messages in the test above


# --- GPUs --------------------------------------------------------------------------------------


class FakeCuda:
    """A computer with ``count`` GPUs, as far as choosing one goes."""

    def __init__(self, count):
        self.used = []
        self.runtime = SimpleNamespace(getDeviceCount=lambda: count, deviceGetPCIBusId=lambda number: f"bus {number}")

    def Device(self, number):
        return SimpleNamespace(use=lambda: self.used.append(number))


class ThirdOfFour(Group):
    rank, size, local_rank, local_size = 6, 8, 2, 4

    def __init__(self, others):
        self.others = others

    def gather_local(self, value):
        return [*self.others, value]


def test_each_rank_takes_the_gpu_of_its_place():
    cuda = FakeCuda(4)
    collective._take_gpu(ThirdOfFour(["bus 0", "bus 1", "bus 3"]), cuda)
    assert cuda.used == [2]


def test_a_launcher_may_show_each_rank_one_gpu():
    cuda = FakeCuda(1)
    collective._take_gpu(ThirdOfFour(["bus 5", "bus 6", "bus 7"]), cuda)
    assert cuda.used == [0]


def test_two_ranks_cannot_have_one_gpu():
    with pytest.raises(DeviceError, match=r"4 processes on a computer with 2 GPU\(s\): start one for each GPU"):
        collective._take_gpu(ThirdOfFour(["bus 0", "bus 1", "bus 1"]), FakeCuda(2))


def test_the_stand_in_for_nccl_finds_arrays_by_their_address():
    array = array_library("emulated").zeros(4)
    assert bytes_at(array.data.ptr, 32).view(np.float64).tolist() == [0, 0, 0, 0]
    for address, size in ((array.data.ptr, 40), (array.data.ptr - 8, 8), (0, 8)):
        with pytest.raises(ValueError, match="no array of the GPU"):
            bytes_at(address, size)
