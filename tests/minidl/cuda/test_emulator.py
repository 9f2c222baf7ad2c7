"""The emulator: launches, orders of threads, barriers, what it reports, and what a learner can watch."""

import shutil
import subprocess
import sys
import threading

import numpy as np
import pytest

from minidl.kernels.cuda import emulator
from minidl.kernels.cuda.emulator import EmulatorError, Turn

pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="the emulator needs g++")
i32, f32 = np.int32, np.float32


def kernel(code, name="kernel"):
    return emulator.Module(code).get_function(name)


def test_every_thread_of_a_grid_knows_its_place():
    place = kernel("""
        extern "C" __global__ void kernel(int* found) {
            int thread = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
            int block = blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z);
            int* own = found + 3 * (block * blockDim.x * blockDim.y * blockDim.z + thread);
            own[0] = block, own[1] = thread, own[2] = warpSize;
        }
    """)
    grid, block = (2, 3, 2), (5, 4, 3)
    for order in (0, 1, 7):
        found = np.full((12, 60, 3), -1, i32)
        with emulator.thread_order(order):
            place(grid, block, (found,))
        np.testing.assert_array_equal(found[..., 0], np.arange(12)[:, None] + np.zeros((1, 60)))
        np.testing.assert_array_equal(found[..., 1], np.zeros((12, 1)) + np.arange(60))
        assert (found[..., 2] == 32).all()


LAST_WRITER = """
extern "C" __global__ void kernel(int* last, int* sequence) {
    int thread = blockIdx.x * blockDim.x + threadIdx.x;
    sequence[atomicAdd(last, 1)] = thread;
}
"""


def sequence(order):
    count, threads = np.zeros(1, i32), np.zeros(12, i32)
    with emulator.thread_order(order):
        kernel(LAST_WRITER)((3,), (4,), (count, threads))
    return threads.tolist()


def test_orders_of_threads():
    assert sequence(0) == list(range(12))
    assert sequence(1) == list(range(12))[::-1]
    seven = sequence(7)
    assert sorted(seven) == list(range(12))
    assert seven not in (sequence(0), sequence(1), sequence(8))
    assert seven == sequence(7)  # reproducible


def test_shared_memory_starts_as_nan_in_every_block():
    first_value = kernel("""
        extern "C" __global__ void kernel(float* y) {
            __shared__ float plain[2][3], more[4];
            __shared__ __align__(16) double wide[2];
            extern __shared__ float dynamic[];
            float* own = y + 4 * blockIdx.x;
            own[0] = plain[1][2], own[1] = more[3], own[2] = wide[1], own[3] = dynamic[7];
            plain[1][2] = more[3] = wide[1] = dynamic[7] = 1;
        }
    """)
    y = np.zeros((2, 4), f32)
    first_value((2,), (1,), (y,), 32)
    assert np.isnan(y).all()


def test_arrays_declared_with_shared():
    """Several in one line, sizes by expressions, a template's type, in comments and strings, in a called function."""
    values = kernel("""
        // __shared__ float only[3];
        /* a comment; __shared__
           int another[2]; */
        template <class A, int n> struct Pair { A numbers[n]; };
        #define SIZE(a, b) (a * b)
        __device__ int sum_of(int value) {
            __shared__ int both[2];
            both[threadIdx.x] = value;
            __syncthreads();
            int sum = both[0] + both[1];
            __syncthreads();
            return sum;
        }
        extern "C" __global__ void __launch_bounds__(64) kernel(int* y) {
            __shared__ int a[SIZE(2, 3)], b[2] [4], single;
            __shared__ Pair<unsigned, 2> pair[3];
            __shared__ unsigned short bits[5];
            if (threadIdx.x == 0) {
                y[0] = sizeof(a), y[1] = sizeof(b), y[2] = sizeof(single), y[3] = sizeof(pair), y[4] = sizeof(bits);
                single = 8;
            }
            __syncthreads();
            y[5 + threadIdx.x] = sum_of(threadIdx.x + single) + sum_of(100);
            if (threadIdx.x == 0) printf("// no __shared__ comment;\\n");
        }
    """)
    y = np.zeros(7, i32)
    values((1,), (2,), (y,))
    assert y.tolist() == [24, 32, 4, 24, 10, 217, 217]


def test_printing(capsys):
    hello = kernel("""
        extern "C" __global__ void kernel(float x) {
            if (threadIdx.x % 2) printf("thread %d of block %u: %.2f %s\\n", threadIdx.x, blockIdx.x, x, "ok");
        }
    """)
    hello((2,), (4,), (f32(0.5),))
    lines = [f"thread {thread} of block {block}: 0.50 ok" for block in (0, 1) for thread in (1, 3)]
    assert capsys.readouterr().out.splitlines() == lines
    with emulator.only(block=1, thread=3):
        hello((2,), (4,), (f32(0.5),))
    assert capsys.readouterr().out.splitlines() == lines[-1:]


ADD_NEIGHBOUR = """#line 1 "neighbour.cu"
extern "C" __global__ void kernel(const float* x, float* y) {
    __shared__ float tile[2];
    tile[threadIdx.x] = x[threadIdx.x];
    __syncthreads();
    float sum = tile[0] + tile[1];
    y[blockIdx.y * 2 + threadIdx.x] = sum + __shfl_xor_sync(3, sum, 1);
}
"""


def test_watching():
    x, y = np.array([1, 2], f32), np.zeros((2, 2), f32)
    with emulator.watch() as turns:
        kernel(ADD_NEIGHBOUR)((1, 2), (2,), (x, y))
    np.testing.assert_array_equal(y, 6)
    assert turns[:6] == [
        Turn((0, 0, 0), (0, 0, 0), 0, "__syncthreads", "neighbour.cu", 4),
        Turn((0, 0, 0), (1, 0, 0), 0, "__syncthreads", "neighbour.cu", 4),
        Turn((0, 0, 0), (0, 0, 0), 1, "__shfl_xor_sync", "neighbour.cu", 6),
        Turn((0, 0, 0), (1, 0, 0), 1, "__shfl_xor_sync", "neighbour.cu", 6),
        Turn((0, 0, 0), (0, 0, 0), 1, "end", None, None),
        Turn((0, 0, 0), (1, 0, 0), 1, "end", None, None),
    ]
    assert [turn._replace(block=(0, 0, 0)) for turn in turns[6:]] == turns[:6]
    assert {turn.block for turn in turns[6:]} == {(0, 1, 0)}
    kernel(ADD_NEIGHBOUR)((1,), (2,), (x, y))
    assert len(turns) == 12  # nothing is added behind the with block


def test_one_block_or_one_thread_alone():
    x, y = np.array([1, 2], f32), np.zeros((2, 2), f32)
    with emulator.only(block=(0, 1)):
        kernel(ADD_NEIGHBOUR)((1, 2), (2,), (x, y))
    assert y.tolist() == [[0, 0], [6, 6]]
    with emulator.only(thread=1), emulator.watch() as turns:  # it passes the barriers; the other's numbers are NaN
        kernel(ADD_NEIGHBOUR)((1, 2), (2,), (x, y))
    assert [turn.thread for turn in turns] == [(1, 0, 0)] * 6
    assert np.isnan(y[:, 1]).all()
    with emulator.only(block=5), emulator.watch() as turns:  # which the grid does not have
        kernel(ADD_NEIGHBOUR)((1, 2), (2,), (x, y))
    assert turns == []


BARRIERS = {
    "ended": ("if (i == 3) return;\n__syncthreads();", r"x\.cu:3: not every thread reaches this __syncthreads"),
    "elsewhere": ("if (i < 4)\n__syncthreads();\nelse\n__syncthreads();", r"x\.cu:3: threads .* different barriers"),
    "missing lanes": (
        "if (i < 5) return;\nx[i] += __shfl_down_sync(~0u, x[i], 1);",
        r"x\.cu:3: __shfl_down_sync waits for lanes of its warp that never come \(thread \(5, 0, 0\)",
    ),
    "other operation": (
        "if (i % 2)\n__ballot_sync(~0u, 1);\nelse\n__any_sync(~0u, 1);",
        r"x\.cu:5: lanes of one warp wait at different operations: __any_sync .* __ballot_sync .* x\.cu:3",
    ),
    "outside of mask": ("x[i] += \n__shfl_sync(1, x[i], 0);", r"x\.cu:3: the mask of __shfl_sync leaves out"),
    "block and warp": ("if (i < 32) __syncwarp();\nelse __syncthreads();\n__syncthreads();", r"different barriers"),
    "too much": ("__shared__ float s[200][64];\nx[0] = s[i][0];", r"__shared__ arrays take 51200 bytes, more than 48"),
    "stack": ("volatile float s[100000];\ns[i] = 1;\nx[i] = s[0];", r"do not fit into the emulator's stack"),
    "fault": ("int far = 2000000000;\nx[far] = 1;", r"x\.cu:3: touches memory outside of every array"),
}


@pytest.fixture(scope="module")
def run_barriers():
    """``run_barriers(bug)``: 64 threads in a kernel with that bug."""
    kernels = "".join(
        f'#line 1 "x.cu"\nextern "C" __global__ void kernel{number}(float* x) {{ int i = threadIdx.x;\n{body}\n}}\n'
        for number, (body, _) in enumerate(BARRIERS.values())
    )
    module = emulator.Module(kernels)

    def run(bug):
        module.get_function(f"kernel{list(BARRIERS).index(bug)}")((1,), (64,), (np.zeros(64, f32),))

    return run


@pytest.mark.parametrize("bug", BARRIERS)
def test_what_is_always_reported(run_barriers, bug):
    with pytest.raises(EmulatorError, match=BARRIERS[bug][1]):
        run_barriers(bug)
    for order in (1, 5):
        with emulator.thread_order(order), pytest.raises(EmulatorError, match=r"^kernel\d: "):
            run_barriers(bug)


def test_after_a_failure_all_is_well_again(run_barriers):
    for bug in ("ended", "stack"):
        with pytest.raises(EmulatorError):
            run_barriers(bug)
    test_orders_of_threads()


def test_background_copies_arrive_with_their_wait():
    copy = kernel("""
        extern "C" __global__ void kernel(const float* x, float* y) {
            __shared__ float4 tile[3];
            for (int i = 0; i < 3; ++i) {
                copy_async_16(&tile[i], x + 4 * i, i != 1);
                copy_async_commit();
            }
            y[0] = tile[0].x;
            copy_async_wait<2>();
            y[1] = tile[0].x, y[2] = tile[1].y;
            copy_async_wait<0>();
            y[3] = tile[1].y, y[4] = tile[2].w;
        }
    """)
    y = np.zeros(5, f32)
    copy((1,), (1,), (np.arange(12, dtype=f32), y))
    np.testing.assert_array_equal(y, [np.nan, 0, np.nan, 0, 11])


ARGUMENTS = """
struct Shape { int height, width; };
extern "C" __global__ void kernel(const float4* four, double* x, bool flag, Shape shape, long long count, half16* h) {
    if (flag) x[0] = shape.height * 10 + shape.width + count;
}
"""
SHAPE = np.array((4, 2), [("height", "i4"), ("width", "i4")])


def arguments(**changes):
    fitting = {
        "four": np.zeros(8, f32)[:4],
        "x": np.zeros(2),
        "flag": np.bool_(True),
        "shape": SHAPE,
        "count": 300,
        "h": None,
    }
    return tuple((fitting | changes).values())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"x": np.zeros(2, f32)}, "x takes an array of float64, not float32"),
        ({"x": np.zeros(4)[::2]}, "x must be contiguous"),
        ({"x": 3.0}, "x is a pointer and takes an array, not float"),
        ({"four": np.zeros(8, f32)[1:]}, "four must lie at a multiple of 16 bytes"),
        ({"flag": 1}, "flag takes bool, but CuPy would pass int64"),
        ({"count": i32(300)}, "count takes int64, but CuPy would pass int32"),
        ({"count": np.zeros(2, np.int64)}, "count is a number, not an array of shape"),
        ({"shape": np.array((1, 2, 3), "i4,i4,i4")}, "shape takes a struct of 8 bytes"),
        ({"h": np.zeros(2, np.uint16)}, "h takes an array of float16, not uint16"),
    ],
)
def test_arguments_must_fit(changes, message):
    run = kernel(ARGUMENTS.replace("half16", "emulated_half"))
    x = np.zeros(2)
    run((1,), (1,), arguments(x=x))
    assert x[0] == 342
    with pytest.raises(EmulatorError, match=f"kernel: {message}"):
        run((1,), (1,), arguments(**changes))
    with pytest.raises(EmulatorError, match="takes 6 arguments, not 5"):
        run((1,), (1,), arguments()[:5])


@pytest.mark.parametrize(
    ("grid", "block", "shared"),
    [
        ((0,), (1,), 0),
        ((1, 65536), (1,), 0),
        ((1,), (1025,), 0),
        ((1,), (32, 33), 0),
        ((1,), (1, 1, 65), 0),
        ((1,), (1, 1, 1, 1), 0),
        ((1,), (1,), 48 * 1024 + 1),
        ((1,), (1,), -1),
    ],
)
def test_limits_of_a_launch(grid, block, shared):
    run = kernel('extern "C" __global__ void kernel() {}')
    with pytest.raises(EmulatorError, match="kernel: "):
        run(grid, block, (), shared)


def test_more_shared_memory_must_be_asked_for():
    run = kernel("""
        extern "C" __global__ void kernel(float* y) {
            extern __shared__ float dynamic[];
            dynamic[227 * 256 - 1] = 5;
            y[0] = dynamic[227 * 256 - 1];
        }
    """)
    y = np.zeros(1, f32)
    with pytest.raises(EmulatorError, match="at most 49152 are allowed"):
        run((1,), (1,), (y,), 227 * 1024)
    run.max_dynamic_shared_size_bytes = 227 * 1024
    run((1,), (1,), (y,), 227 * 1024)
    assert y[0] == 5
    with pytest.raises(EmulatorError, match="a block has at most 232448"):
        run.max_dynamic_shared_size_bytes = 227 * 1024 + 1


def test_launches_from_several_python_threads():
    run = kernel("""
        extern "C" __global__ void kernel(int* y, int value) {
            __shared__ int one;
            if (threadIdx.x == 0) one = value;
            __syncthreads();
            y[blockIdx.x * blockDim.x + threadIdx.x] = one;
        }
    """)
    results = [np.zeros(640, i32) for _ in range(4)]

    def work(number):
        for _ in range(20):
            run((10,), (64,), (results[number], i32(number)))

    workers = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    for number, result in enumerate(results):
        assert (result == number).all()


def test_without_the_stack_switch_in_assembly():
    """As on processors other than x86-64: a process in which all is compiled with ucontext must do the same."""
    script = f"""
import numpy as np
from minidl.kernels.cuda.emulator import compiler
compiler.FLAGS += ("-DFIBERS_FROM_UCONTEXT",)
from minidl.kernels.cuda import emulator
run = emulator.Module({ADD_NEIGHBOUR!r}).get_function("kernel")
x, y = np.array([1, 2], np.float32), np.zeros((2, 2), np.float32)
for order in (0, 1, 7):
    with emulator.thread_order(order), emulator.watch() as turns:
        run((1, 2), (2,), (x, y))
    print(y.tolist(), len(turns))
"""
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert result.stdout.splitlines() == ["[[6.0, 6.0], [6.0, 6.0]] 12"] * 3, result.stderr
