"""Work done ahead: in order, only one ahead, and with an end that leaves nothing running or half done."""

import threading

import pytest

from yolov3.prefetch import prefetch

PATIENCE = 10  # seconds until a thread counts as stuck


def own_threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith("prefetch")]


def test_results_come_in_order_from_one_other_thread():
    threads = set()

    def make(item):
        threads.add(threading.current_thread())
        return item**2

    assert list(prefetch(make, range(20))) == [number**2 for number in range(20)]
    assert len(threads) == 1
    assert threading.current_thread() not in threads
    assert own_threads() == []


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_any_number_of_items(count):
    assert list(prefetch(str, range(count))) == ["0", "1", "2"][:count]


def test_the_next_is_made_while_the_caller_has_this_one():
    begun = [threading.Event() for _ in range(3)]
    results = prefetch(lambda item: begun[item].set(), range(3))
    for number in range(2):
        next(results)
        assert begun[number + 1].wait(PATIENCE)
    results.close()


def test_it_is_never_more_than_one_ahead():
    asked, made = [], []

    def source():
        for item in range(10):
            asked.append((item, threading.current_thread() is threading.main_thread()))
            yield item

    for number, _ in enumerate(prefetch(made.append, source())):
        assert len(asked) == min(number + 2, 10)
        assert number + 1 <= len(made) <= number + 2
    assert asked == [(item, True) for item in range(10)]


def test_an_error_comes_where_its_result_would_have_come():
    def make(item):
        if item == 2:
            raise KeyError(item)
        return item

    results = prefetch(make, range(9))
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(KeyError, match="2"):
        next(results)
    assert own_threads() == []
    assert list(results) == []


def test_an_error_of_the_source_comes_at_once_and_what_was_handed_over_is_finished():
    made = []

    def source():
        yield 0
        yield 1
        raise OSError("no more")

    results = prefetch(made.append, source())
    next(results)
    with pytest.raises(OSError, match="no more"):
        list(results)
    assert made == [0, 1]
    assert own_threads() == []


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_a_caller_that_stops_leaves_no_thread_and_nothing_half_done(error):
    begun, finished = threading.Event(), []

    def make(item):
        if item == 1:
            begun.set()
            threading.Event().wait(0.05)
        finished.append(item)

    def stop():
        for _ in prefetch(make, range(9)):
            begun.wait(PATIENCE)
            raise error

    with pytest.raises(error):
        stop()
    assert finished == [0, 1]
    assert own_threads() == []


def test_closing_a_generator_that_never_began():
    prefetch(str, range(3)).close()
    assert own_threads() == []
