"""The stand-in for CuPy: kernels, their arguments, and the memory they may write."""

import threading

import numpy as np
import pytest

from minidl.kernels.cuda.emulator import EmulatorError
from minidl.kernels.cuda.emulator import stand_in as xp
from minidl.kernels.cuda.source import source_text

CODE = """
struct Line { float slope, offset; int count; };

extern "C" __global__ void line(const float* x, float* y, Line line) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < line.count) y[i] = line.slope * x[i] + line.offset;
}

extern "C" __global__ void store(float* y, long long place, double value) { y[place] = value; }

extern "C" __global__ void store_int(float* y, int place) { y[place] = 1; }

extern "C" __global__ void copy_half(const half16* x, half16* y) { y[threadIdx.x] = x[threadIdx.x]; }

extern "C" __global__ void through_shared(float* y) {
    extern __shared__ float cell[];
    cell[0] = 3;
    y[0] = cell[0];
}
"""
LINE = np.dtype([("slope", np.float32), ("offset", np.float32), ("count", np.int32)])


@pytest.fixture(scope="module")
def module():
    return xp.RawModule(code=source_text("real.cuh") + CODE, options=("-std=c++17",))


def test_structs_are_passed_by_value(module):
    x, y = xp.asarray([1, 2, 3], np.float32), xp.zeros(3, np.float32)
    line = np.array((2, 10, 3), LINE)
    module.get_function("line")((1,), (32,), (x, y, line))
    assert y.tolist() == [12, 14, 16]
    stream = xp.cuda.Stream()
    with stream:
        stream.begin_capture()
        module.get_function("line")((1,), (32,), (x, y, line))
        line["slope"] = 0  # too late for the graph
        graph = stream.end_capture()
    y.fill(0)
    graph.launch()
    assert y.tolist() == [12, 14, 16]
    with pytest.raises(TypeError, match=r"numpy\.void"):  # CuPy has a place for it only where it is small
        module.get_function("line")((1,), (32,), (x, y, line[()]))


def test_python_numbers_are_64_bits_wide(module):
    y = xp.zeros(2, np.float32)
    module.get_function("store")((1,), (1,), (y, 1, 2.5))
    assert y.tolist() == [0, 2.5]
    with pytest.raises(RuntimeError, match="int64"):
        module.get_function("store_int")((1,), (1,), (y, 1))
    for wrong in (True, "1", [1]):
        with pytest.raises(TypeError, match="Unsupported type"):
            module.get_function("store")((1,), (1,), (y, wrong, 2.5))


def test_arrays_must_be_on_the_gpu_and_contiguous(module):
    store = module.get_function("store")
    with pytest.raises(TypeError, match=r"numpy\.ndarray of shape \(3,\)"):
        store((1,), (1,), (np.zeros(3, np.float32), 0, 1.0))
    with pytest.raises(RuntimeError):  # a NumPy array of one number would be passed by value
        store((1,), (1,), (np.zeros(1, np.float32), 0, 1.0))
    with pytest.raises(ValueError, match=r"argument 0: an array of shape \(2,\) that is not contiguous"):
        store((1,), (1,), (xp.zeros(4, np.float32)[::2], 0, 1.0))


def test_half_precision(module):
    x, y = xp.asarray([0.5, -2, 65504], np.float16), xp.empty(3, np.float16)
    module.get_function("copy_half")((1,), (3,), (x, y))
    assert y.tolist() == [0.5, -2, 65504]


@pytest.mark.parametrize("place", [-1, 6, 500, -700])
def test_writing_beside_an_array_is_reported(module, place):
    y = xp.zeros((2, 3), np.float32)
    with pytest.raises(EmulatorError, match=r"store(.|\n)*\(2, 3\)"):
        module.get_function("store")((1,), (1,), (y, place, 1.0))


def test_grids_and_blocks(module):
    y = xp.zeros(1, np.float32)
    store = module.get_function("store")
    with xp.count() as counts:
        store((0,), (0, 1), (y, 0, 4.0))  # zero becomes one, as in CuPy
    assert counts.launches == [("store", (1,), (1, 1))]
    assert y.tolist() == [4]
    for grid, block in (([1], (1,)), ((1,), 1)):
        with pytest.raises(TypeError, match="expected tuple"):
            store(grid, block, (y, 0, 4.0))
    for grid, block in (((1,), (1025,)), ((1,), (32, 33)), ((1,), (1, 1, 65)), ((1, 65536), (1,)), ((1,) * 4, (1,))):
        with pytest.raises(EmulatorError, match=r"grid|block"):
            store(grid, block, (y, 0, 4.0))


def test_much_shared_memory_must_be_asked_for(module):
    y = xp.zeros(1, np.float32)
    kernel = module.get_function("through_shared")
    kernel((1,), (1,), (y,), shared_mem=48 * 1024)
    with pytest.raises(EmulatorError, match="shared memory"):
        kernel((1,), (1,), (y,), shared_mem=48 * 1024 + 4)
    with pytest.raises(EmulatorError):
        kernel.max_dynamic_shared_size_bytes = 228 * 1024
    kernel.max_dynamic_shared_size_bytes = 100 * 1024
    kernel((1,), (1,), (y,), shared_mem=100 * 1024)
    assert y.tolist() == [3]


def test_options_are_a_tuple():
    with pytest.raises(TypeError, match="expected tuple"):
        xp.RawModule(code=CODE, options=["-DA"])
    with pytest.raises(TypeError, match="expected tuple"):
        xp.RawKernel(CODE, "line", "-DA")
    kernel = xp.RawKernel('extern "C" __global__ void value(int* y) { *y = VALUE; }', "value", ("-DVALUE=42",))
    y = xp.zeros(1, np.int32)
    kernel((1,), (1,), (y,))
    assert y.item() == 42


def test_several_threads_may_launch(module):
    store = module.get_function("store")
    results = [xp.zeros(20, np.float32) for _ in range(4)]

    def fill(y, value):
        for place in range(20):
            store((1,), (1,), (y, place, value))

    threads = [threading.Thread(target=fill, args=(y, float(i))) for i, y in enumerate(results)]
    with xp.count() as counts:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(counts.launches) == 80
    assert [set(y.tolist()) for y in results] == [{0.0}, {1.0}, {2.0}, {3.0}]
