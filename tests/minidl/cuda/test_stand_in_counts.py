"""The stand-in for CuPy: what it counts, and its memory."""

import gc

import numpy as np
import pytest

from minidl.kernels.cuda.emulator import stand_in as xp


def reasons(action):
    """What the copies to the CPU were made for, and how many copies to the GPU there were."""
    x = xp.asarray([1.0, 0.0, 3.0])
    with xp.count() as counts:
        action(x)
    return [copy.reason for copy in counts.to_host], len(counts.to_device)


def test_copies_and_their_bytes():
    with xp.count() as counts:
        a = xp.asarray(np.zeros((2, 3), np.float32))
        a.get()
        a[0, 0].item()
        xp.asarray([1, 2])
        a.set(np.ones((2, 3), np.float32))
    assert counts.to_device == [("asarray", 24), ("asarray", 16), ("set", 24)]
    assert counts.to_device_bytes == 64
    assert counts.to_host == [("get", 24), ("item", 4)]
    assert counts.to_host_bytes == 28


def test_waits_in_disguise():
    assert reasons(lambda x: bool(x[0])) == (["bool"], 0)
    assert reasons(lambda x: int(x[0])) == (["int"], 0)
    assert reasons(lambda x: str(x)) == (["str"], 0)
    assert reasons(lambda x: x.nonzero()) == (["nonzero"], 0)
    assert reasons(lambda x: x[x > 0]) == (["a mask as index"], 0)
    assert reasons(lambda x: x.__setitem__(x > 0, x[:2])) == (["a mask as index"], 0)
    assert reasons(lambda x: x.__setitem__(x > 0, 1)) == (["a mask as index"], 1)
    assert reasons(lambda x: 3 in x)[0] == ["bool"] * 3
    assert reasons(lambda x: [float(each) for each in x]) == (["float"] * 3, 0)


def test_what_stays_on_the_gpu():
    def work(x):
        y = xp.where(x > 1, x, 0) + xp.arange(3)
        y[1:] = 2
        y[...] = x
        y.fill(3)
        y = y.reshape(3, 1)[:, 0][y.argmax()]
        return len(x), x.shape, xp.zeros((2, 2)), list(x), (y * 2).sum(), xp.full(3, 4.0), x.copy()

    assert reasons(work) == ([], 0)


def test_counting_within_counting():
    with xp.count() as outer:
        xp.asarray([1.0])
        with xp.count() as inner:
            xp.asarray([1.0])
        xp.asarray([1.0])
    xp.asarray([1.0])
    assert (len(outer.to_device), len(inner.to_device)) == (3, 1)


def test_memory_is_counted_in_steps_of_512_bytes():
    gc.collect()
    pool = xp.get_default_memory_pool()
    before = pool.used_bytes()
    with xp.count() as counts:
        a = xp.empty(1000, np.float32)  # 4000 bytes
        view = a[10:]
        del a
        assert pool.used_bytes() == before + 4096
        b = xp.empty(1, np.int8)
        assert pool.used_bytes() == before + 4608
        del view
        assert pool.used_bytes() == before + 512
    assert counts.allocations == 2
    assert counts.peak_bytes == before + 4608
    assert pool.total_bytes() >= before + 4608
    pool.free_all_blocks()
    assert pool.total_bytes() == pool.used_bytes()
    del b


def test_memory_limit():
    gc.collect()
    used = xp.get_default_memory_pool().used_bytes()
    with xp.memory_limit(used + 2048):
        a = xp.empty(512, np.float32)
        assert xp.cuda.Device().mem_info == (0, used + 2048)
        with pytest.raises(xp.cuda.memory.OutOfMemoryError, match="Out of memory allocating 512 bytes") as caught:
            a.sum()
        assert isinstance(caught.value, MemoryError)
        del a, caught
        xp.empty(512, np.float32)
    xp.empty(10_000)
    with pytest.raises(MemoryError):
        xp.empty(1 << 40)
