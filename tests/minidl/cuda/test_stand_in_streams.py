"""The stand-in for CuPy: streams, graphs and events."""

import threading

import numpy as np
import pytest

from minidl.kernels.cuda.emulator import stand_in as xp

CODE = """
extern "C" __global__ void scale(const float* x, float* y, float factor, int count) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < count) y[i] = factor * x[i];
}
"""


@pytest.fixture(scope="module")
def scale():
    kernel = xp.RawModule(code=CODE).get_function("scale")

    def launch(x, y, factor):
        kernel((1,), (32,), (x, y, np.float32(factor), np.int32(x.size)))

    return launch


@pytest.fixture
def stream():
    return xp.cuda.Stream(non_blocking=True)


def test_the_current_stream(stream):
    current = xp.cuda.get_current_stream
    assert current() is xp.cuda.Stream.null
    with stream:
        assert current() is stream
        with xp.cuda.Stream():
            assert current() is not stream
        assert current() is stream
        seen = []
        thread = threading.Thread(target=lambda: seen.append(current()))
        thread.start()
        thread.join()
        assert seen == [xp.cuda.Stream.null]
    assert current() is xp.cuda.Stream.null


def test_a_graph_replays_with_the_arrays_of_its_capture(scale, stream):
    x, y, z = xp.ones(3, np.float32), xp.zeros(3, np.float32), xp.zeros(3, np.float32)
    with stream:
        stream.begin_capture()
        assert stream.is_capturing()
        scale(x, y, 2)
        scale(y, z, 5)
        graph = stream.end_capture()
    assert not stream.is_capturing()
    assert z.tolist() == [0, 0, 0]  # recorded, not run
    graph.upload()
    with xp.count() as counts:
        graph.launch()
    assert counts.graph_launches == 1
    assert counts.launches == []
    assert z.tolist() == [10, 10, 10]
    x.set(np.array([1, 2, 3], np.float32))
    graph.launch(stream)
    assert z.tolist() == [10, 20, 30]


def test_a_graph_of_freed_arrays_is_refused(scale, stream):
    x, y = xp.ones(3, np.float32), xp.zeros(3, np.float32)
    with stream:
        stream.begin_capture()
        scale(x, y, 2)
        graph = stream.end_capture()
    del x
    with pytest.raises(RuntimeError, match=r"kernel scale uses an array of shape \(3,\) that has been freed"):
        graph.launch()
    assert y.tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    "action",
    [
        lambda x: x.get(),
        lambda x: x.item(),
        lambda x: float(x[0]),
        lambda x: bool(x),
        lambda x: x.set(np.zeros(1)),
        lambda x: xp.asarray([1.0]),
        lambda x: xp.nonzero(x),
        lambda x: xp.cuda.Device().synchronize(),
        lambda x: xp.cuda.runtime.deviceSynchronize(),
        lambda x: xp.cuda.get_current_stream().synchronize(),
        lambda x: xp.cuda.Event().record(),
        lambda x: xp.cuda.Event().synchronize(),
    ],
)
def test_what_waits_or_copies_spoils_a_capture(stream, action):
    x = xp.ones(1)
    with stream:
        stream.begin_capture()
        with pytest.raises(xp.cuda.runtime.CUDARuntimeError, match="cudaErrorStreamCaptureUnsupported"):
            action(x)
        with pytest.raises(xp.cuda.runtime.CUDARuntimeError, match="cudaErrorStreamCaptureInvalidated"):
            stream.end_capture()
        action(x)  # the capture is over


@pytest.mark.parametrize(
    "action",
    [
        lambda x: x + 1,
        lambda x: x.sum(),
        lambda x: x.copy(),
        lambda x: xp.zeros(3),
        lambda x: x.__setitem__(0, 1),
        lambda x: x.__iadd__(1),
        lambda x: x.fill(1),
        lambda x: xp.add.at(x, 0, 1),
        lambda x: xp.concatenate([x, x]),
        lambda x: xp.ascontiguousarray(x[::2]),
        lambda x: x.clip(0, 1, out=x),
        lambda x: x.sum(keepdims=True, out=x[:1]),
    ],
)
def test_only_kernels_of_modules_are_recorded(stream, action):
    x = xp.ones(4)
    with stream:
        stream.begin_capture()
        with pytest.raises(RuntimeError, match="while a stream captures: only kernels"):
            action(x)
        with pytest.raises(xp.cuda.runtime.CUDARuntimeError):
            stream.end_capture()
    assert x.tolist() == [1, 1, 1, 1]


def test_views_and_empty_arrays_need_no_recording(scale, stream):
    x = xp.ones((2, 3), np.float32)
    with stream:
        stream.begin_capture()
        y = xp.empty(3, np.float32)
        scale(xp.ascontiguousarray(x.reshape(6)[3:]), y, 7)
        graph = stream.end_capture()
    graph.launch()
    assert y.tolist() == [7, 7, 7]


def test_captures_in_the_wrong_state(stream):
    with pytest.raises(RuntimeError, match="cannot capture on the default"):
        xp.cuda.Stream.null.begin_capture()
    with pytest.raises(xp.cuda.runtime.CUDARuntimeError, match="not capturing"):
        stream.end_capture()
    stream.begin_capture()
    with pytest.raises(xp.cuda.runtime.CUDARuntimeError, match="capturing already"):
        stream.begin_capture()
    with stream, pytest.raises(xp.cuda.runtime.CUDARuntimeError):
        xp.cuda.Graph([]).launch()
    with pytest.raises(xp.cuda.runtime.CUDARuntimeError):
        stream.end_capture()


def test_a_capture_on_another_stream_does_not_disturb(scale, stream):
    x, y = xp.ones(2, np.float32), xp.zeros(2, np.float32)
    stream.begin_capture()
    scale(x, y, 3)  # on the default stream
    assert y.tolist() == [3, 3]
    assert stream.end_capture()


def test_events():
    start, end = xp.cuda.Event(), xp.cuda.Event()
    start.record()
    end.record()
    end.synchronize()
    assert end.done
    assert 0 <= xp.cuda.get_elapsed_time(start, end) < 1000
    with pytest.raises(xp.cuda.runtime.CUDARuntimeError):
        xp.cuda.get_elapsed_time(start, xp.cuda.Event())
    with pytest.raises(xp.cuda.runtime.CUDARuntimeError):
        xp.cuda.get_elapsed_time(start, xp.cuda.Stream().record(xp.cuda.Event(disable_timing=True)))


def test_the_card():
    assert xp.cuda.is_available()
    assert xp.cuda.runtime.getDeviceCount() == 1
    assert xp.cuda.runtime.getDeviceProperties(0)["name"] == b"emulated"
    device = xp.cuda.Device()
    assert device.compute_capability == "90"
    assert device.attributes["MultiProcessorCount"] > 0
    device.synchronize()
    with pytest.raises(xp.cuda.runtime.CUDARuntimeError, match="InvalidDevice"):
        xp.cuda.Device(1)
    free, total = device.mem_info
    kept = xp.empty(1 << 18, np.float32)
    assert device.mem_info == (free - kept.nbytes, total)
