"""Threads: settings, how work is cut, and BLAS's own threads, which must be as before after every region."""

import os
import signal
import subprocess
import sys
import threading
import time
import weakref
from pathlib import Path

import numpy as np
import pytest

from minidl import get_num_threads, set_num_threads
from minidl.kernels.cpu.parallel import (
    _blas_libraries,
    _Worker,
    one_blas_thread,
    run_parts,
    scratch,
    split_evenly,
)

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


def test_the_first_of_several_errors_arrives_and_workers_go_on():
    with pytest.raises(KeyError, match="1"):
        run_parts(lambda part: {}[part] if part else None, [0, 1, 2])
    assert run_parts(lambda part: part, [0, 1, 2]) == [0, 1, 2]


def test_errstate_of_the_caller_holds_in_every_part():
    with np.errstate(divide="raise"):
        assert run_parts(lambda part: np.geterr()["divide"], [0, 1]) == ["raise"] * 2
    with np.errstate(divide="ignore"):
        assert run_parts(lambda part: np.geterr()["divide"], [0, 1]) == ["ignore"] * 2


def test_workers_are_used_again():
    run_parts(lambda part: None, range(4))
    count = threading.active_count()
    for _ in range(20):
        run_parts(lambda part: None, range(4))
    assert threading.active_count() == count


def test_workers_keep_nothing_of_what_is_over():
    class Large:
        pass

    large = Large()
    kept = weakref.ref(large)
    run_parts(lambda part, large=large: large, [0, 1])
    del large
    assert kept() is None


def test_parts_within_parts_of_several_python_threads():
    def outer(number):
        return run_parts(lambda part: sum(run_parts(lambda inner: part + inner + number, [0, 1, 2])), [0, 10])

    found = {}

    def work(number):
        found[number] = [outer(number) for _ in range(30)]

    helpers = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for helper in helpers:
        helper.start()
    for helper in helpers:
        helper.join(30)
    assert found == {number: [[3 + 3 * number, 33 + 3 * number]] * 30 for number in range(4)}


@pytest.fixture
def interruptible():
    """Ctrl-C raises KeyboardInterrupt, as it does in a program of its own."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="needs signals to one thread")
@pytest.mark.parametrize("presses", [1, 3])
def test_ctrl_c_arrives_after_all_parts_have_ended(interruptible, presses):
    ended = []

    def work(part):
        if part == 1:
            for _ in range(presses):
                time.sleep(0.05)  # the first thread waits by now
                signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
            time.sleep(0.05)
        ended.append(part)

    with pytest.raises(KeyboardInterrupt):
        run_parts(work, [0, 1, 2])
    assert sorted(ended) == [0, 1, 2]
    assert run_parts(lambda part: part, [0, 1, 2]) == [0, 1, 2]


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="needs signals to one thread")
def test_ctrl_c_in_the_callers_own_part(interruptible):
    ended = []

    def work(part):
        if part == 0:
            signal.raise_signal(signal.SIGINT)
        time.sleep(0.05)
        ended.append(part)

    with pytest.raises(KeyboardInterrupt):
        run_parts(work, [0, 1, 2])
    assert sorted(ended) == [1, 2]


@pytest.mark.parametrize("moment", ["before", "after"])
def test_ctrl_c_at_the_moment_when_a_part_ends(moment):
    """It may come just before the waiting thread has got the lock, or just after: there is no second one to get."""
    worker = _Worker()
    worker.start(lambda part: time.sleep(0.05), 1)
    caught, lock = [], worker._end

    class Interrupted:
        def acquire(self):
            if moment == "before" and worker._end is self:
                worker._end = lock
                raise KeyboardInterrupt
            lock.acquire()
            raise KeyboardInterrupt

    worker._end = Interrupted()

    def wait():
        try:
            worker.wait()
        except KeyboardInterrupt:
            caught.append(moment)

    waiting = threading.Thread(target=wait, daemon=True)
    waiting.start()
    waiting.join(5)
    assert caught == [moment], "it waits for ever"
    worker.start(lambda part: part, 6)
    assert worker.wait() == 6


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_copy_of_the_process_has_workers_of_its_own():
    code = """if True:
        import os, sys, threading, time
        from minidl.kernels.cpu.parallel import run_parts
        assert run_parts(lambda part: part * 2, [1, 2, 3]) == [2, 4, 6]
        busy = threading.Thread(target=lambda: run_parts(lambda part: time.sleep(0.5), [1, 2]))
        busy.start()
        time.sleep(0.1)  # a region of one BLAS thread is under way elsewhere
        child = os.fork()
        if child == 0:
            os._exit(0 if run_parts(lambda part: part * 3, [1, 2, 3]) == [3, 6, 9] else 1)
        status = os.waitpid(child, 0)[1]
        busy.join()
        assert run_parts(lambda part: part * 2, [1, 2, 3]) == [2, 4, 6]
        sys.exit(os.waitstatus_to_exitcode(status))
    """
    subprocess.run([sys.executable, "-c", code], cwd=PROJECT, check=True, timeout=60)


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
