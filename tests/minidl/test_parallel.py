"""Threads: settings, how work is cut, and BLAS's own threads, which must be as before after every region."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from minidl import get_num_threads, set_num_threads
from minidl.kernels.cpu.parallel import _blas_libraries, one_blas_thread, run_parts, scratch, split_evenly

PROJECT = Path(__file__).resolve().parents[2]


@pytest.fixture
def restored():
    before = get_num_threads()
    yield
    set_num_threads(before)


@pytest.fixture
def blas():
    """A function that says how many threads BLAS uses, which are three before the test."""
    libraries = _blas_libraries()
    if not libraries:
        pytest.skip("NumPy's BLAS is not one that threadpoolctl can control")
    before = [library.get_num_threads() for library in libraries]
    for library in libraries:
        library.set_num_threads(3)
    if libraries[0].get_num_threads() != 3:
        pytest.skip("this BLAS has one thread only")
    yield libraries[0].get_num_threads
    for library, count in zip(libraries, before, strict=True):
        library.set_num_threads(count)


def test_number_of_threads(restored):
    set_num_threads(5)
    assert get_num_threads() == 5
    for wrong in (0, -1, 1.5):
        with pytest.raises(ValueError, match=f"number of threads must be a whole number of at least 1, not {wrong}"):
            set_num_threads(wrong)
    assert get_num_threads() == 5


@pytest.mark.parametrize("value", ["1", "many"])
def test_omp_num_threads_is_an_upper_limit(value):
    code = "import minidl; print(minidl.get_num_threads())"
    environment = {**os.environ, "OMP_NUM_THREADS": value}
    result = subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd=PROJECT, capture_output=True, text=True, check=True
    )
    assert int(result.stdout) == 1 if value == "1" else int(result.stdout) >= 1


def test_parts_come_back_in_order():
    assert run_parts(lambda part: part * 10, [1, 2, 3, 4, 5]) == [10, 20, 30, 40, 50]
    assert run_parts(lambda part: part * 10, [7]) == [70]


def test_parts_run_side_by_side():
    meeting = threading.Barrier(3, timeout=10)  # breaks unless all three parts are under way at once
    run_parts(lambda part: meeting.wait(), [0, 1, 2])


@pytest.mark.parametrize("failing", [0, 1, 2])
def test_an_error_in_any_part_arrives_after_all_parts_have_ended(failing):
    ended = []

    def work(part):
        if part == failing:
            raise KeyError(part)
        threading.Event().wait(0.05)
        ended.append(part)

    with pytest.raises(KeyError):
        run_parts(work, [0, 1, 2])
    assert sorted(ended) == [part for part in range(3) if part != failing]


@pytest.mark.parametrize("threads", [1, 2, 3, 7])
@pytest.mark.parametrize("count", [0, 1, 2, 5, 100])
def test_work_is_cut_into_runs_that_cover_it(threads, count, restored):
    set_num_threads(threads)
    runs = split_evenly(list(range(count)), work=1 << 30)
    assert [item for run in runs for item in run] == list(range(count))
    assert len(runs) == max(1, min(threads, count))
    assert max(map(len, runs)) - min(map(len, runs)) <= 1
    assert len(split_evenly(list(range(count)), work=10)) == 1  # too little to be worth a thread


def test_scratch_memory_is_used_again_in_one_thread_and_never_shared():
    first = scratch("test", 100, np.float32)
    assert np.shares_memory(first, scratch("test", 50, np.float32))
    assert not np.shares_memory(first, scratch("other", 50, np.float32))
    assert scratch("test", 100, np.float64).dtype == np.float64
    elsewhere = []
    thread = threading.Thread(target=lambda: elsewhere.append(scratch("test", 100, np.float32)))
    thread.start()
    thread.join(10)
    assert not np.shares_memory(first, elsewhere[0])


def test_blas_uses_one_thread_inside_and_as_many_as_before_outside(blas):
    assert run_parts(lambda part: blas(), [0, 1]) == [1, 1]
    assert blas() == 3
    with one_blas_thread:
        with one_blas_thread:
            assert blas() == 1
        assert blas() == 1
    assert blas() == 3


@pytest.mark.parametrize("parts", [[0], [0, 1, 2]])
def test_blas_threads_return_after_an_error(blas, parts):
    with pytest.raises(ZeroDivisionError):
        run_parts(lambda part: 1 / part, parts)
    assert blas() == 3


def test_blas_threads_return_when_regions_of_several_threads_overlap(blas):
    entered, seen = [threading.Event() for _ in range(3)], []
    leave = [threading.Event() for _ in range(3)]

    def region(number):
        with one_blas_thread:
            entered[number].set()
            leave[number].wait(10)
            seen.append(blas())

    threads = [threading.Thread(target=region, args=(number,)) for number in range(3)]
    for number, thread in enumerate(threads):
        thread.start()
        assert entered[number].wait(10)
    for number in (1, 0, 2):  # leave in another order than they came
        leave[number].set()
        threads[number].join(10)
    assert seen == [1, 1, 1]
    assert blas() == 3


def test_blas_threads_return_after_many_hurried_regions(blas):
    def hurry():
        for _ in range(50):
            run_parts(lambda part: None, [0, 1])

    threads = [threading.Thread(target=hurry) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert blas() == 3
