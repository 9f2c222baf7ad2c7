"""Checked builds of the emulator: the line, thread and array of what a kernel must not do, and no false alarm."""

import shutil

import numpy as np
import pytest

from minidl.kernels.cuda import emulator
from minidl.kernels.cuda.emulator import EmulatorError

pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="the emulator needs g++")

COMMON = """#line 1 "x.cu"
struct Pair { float first, second; };
__device__ float second_of(const float* from) { return from[1]; }
"""
KERNEL = """#line 3 "x.cu"
extern "C" __global__ void NAME(const float* x, float* y, int count) {
    __shared__ float tile[2][32];
    __shared__ Pair pairs[32];
    __shared__ float4 wide[8];
    extern __shared__ int dynamic[];
    int i = threadIdx.x, block = blockIdx.x;
BODY
}
"""

BUGS = {  # name: (what a kernel does from line 9 on, what is reported)
    "read behind": ("y[i] = x[i + 1];", r"x\.cu:9: reads x\[64\], but x has 64 elements \(thread \(63, 0, 0\) of"),
    "read before": ("y[i] = x[i - 1];", r"x\.cu:9: reads x\[-1\], but x has 64 elements \(thread \(0, 0, 0\)"),
    "write": ("if (i == 7) y[block + 127] = 1;",
              r"x\.cu:9: writes y\[128\], .* \(thread \(7, 0, 0\) of block \(1, 0, 0\)"),
    "in a called function": ("y[i] = second_of(x + i);", r"x\.cu:2: reads x\[64\]"),
    "through a cast": (
        "float4 four = reinterpret_cast<const float4*>(x)[i];\ny[i] = four.w;",
        r"x\.cu:\d+: reads x\[6[4-7]\], but x has 64 elements \(thread \(16, 0, 0\)",
    ),
    "through __ldg": ("y[i] = __ldg(x + i + 1);", r"x\.cu:9: reads x\[64\]"),
    "atomic": ("atomicAdd(y + 2 * i + 1 + block, 1);", r"x\.cu:9: atomically changes y\[128\]"),
    "shared": ("tile[1][i - 32] = 1;\nif (i == 63) tile[2][0] = 1;", r"x\.cu:10: writes tile\[64\], but tile has 64"),
    "struct": ("if (i == 0) pairs[32].second = 1;", r"x\.cu:9: writes pairs\[32\] \(byte 4\), but pairs has 32 elem"),
    "dynamic": ("dynamic[i] = 1;", r"x\.cu:9: writes dynamic\[16\], but dynamic has 16 elements"),
    "copy": ("if (i == 16) copy_async_16(wide, x + 4 * i, true);\ncopy_async_commit();\ncopy_async_wait<0>();",
             r"x\.cu:9: reads x\[64\]"),
    "misaligned": ("y[i] = reinterpret_cast<const double*>(x + 1)[i / 4];",
                   r"x\.cu:9: reads 8 bytes at once from x\[1\] on, which does not lie at a multiple of that"),
    "not yet written": ("y[i] = tile[0][3];", r"x\.cu:9: reads tile\[3\] before any thread has written it"),
    "written and read": ("tile[i / 32][i % 32] = 1;\ny[i] = tile[0][0];",
                         r"x\.cu:10: reads tile\[0\] \(thread \(1, 0, 0\) of block \(0, 0, 0\)\) that thread "
                         r"\(0, 0, 0\) of block \(0, 0, 0\) writes in x\.cu:9, with no barrier between them"),
    "read and written": ("if (i < 32) tile[0][i] = 1;\n__syncthreads();\ny[i] = tile[0][0];\ntile[0][i % 32] = 1;",
                         r"x\.cu:11: reads tile\[0\] \(thread \(1, 0, 0\) .* writes in x\.cu:12"),
    "plain and atomic": ("if (i == 9) y[0] = 1;\nelse atomicAdd(y, 1);",
                         r"x\.cu:9: writes y\[0\] \(thread \(9, .* thread \(8, .* atomically changes in x\.cu:10"),
    "two blocks": ("y[i] += 1;\n__syncthreads();",
                   r"x\.cu:9: reads y\[0\] \(thread \(0, 0, 0\) of block \(1, 0, 0\)\)"),
    "shuffles order no memory": ("tile[i / 32][i % 32] = 1;\n__shfl_sync(~0u, 1, 0);\ny[i] = tile[i / 32][0];",
                                 r"x\.cu:11: reads tile\[0\]"),
}  # fmt: skip


FINE = {
    "barrier": "tile[i / 32][i % 32] = x[i];\n__syncthreads();\ny[i] = tile[1][31 - i % 32];",
    "sync of the warp": "tile[i / 32][i % 32] = x[i];\n__syncwarp();\ny[i] = tile[i / 32][31 - i % 32];",
    "parts of a struct": "if (i < 32) pairs[i].first = 1; else pairs[i - 32].second = 1;\n__syncthreads();\n"
                         "y[i] = pairs[i / 2].first;",
    "same input": "y[i] = x[0] + x[i / 2];",
    "atomics": "atomicAdd(y + i % 2, 1);\ny[i + 64] = 1;",
    "local arrays": "float own[5];\nfor (int k = 0; k < 5; ++k) own[k] = k * i;\ny[i] = own[i % 5];",
    "copies": "if (i < 8) copy_async_16(wide + i, x + 4 * i, i < 7);\ncopy_async_commit();\ncopy_async_wait<0>();\n"
              "__syncthreads();\ny[i] = wide[i % 8].x;",
    "dynamic": "if (i < 16) dynamic[i] = i;\n__syncthreads();\ny[i] = dynamic[i / 4];",
}  # fmt: skip


EXPONENTIAL = "y[i] = exp(x[i]) * blockDim.x + i;"


@pytest.fixture(scope="module")
def run():
    """``run(body, grid)``: a kernel with 64 threads a block; x has 64 elements in a larger array, y 128, dynamic 16."""
    bodies = [body for body, _ in BUGS.values()] + [*FINE.values(), EXPONENTIAL]
    names = {body: f"kernel{number}" for number, body in enumerate(bodies)}
    kernels = [KERNEL.replace("NAME", name).replace("BODY", body) for body, name in names.items()]
    with emulator.checking():
        module = emulator.Module(COMMON + "".join(kernels))

    def run(body, grid):
        x, y = np.ones(100, np.float32)[4:68], np.zeros(128, np.float32)
        with emulator.checking():
            module.get_function(names[body])((grid,), (64,), (x, y, np.int32(64)), 64)
        return y

    return run


@pytest.mark.parametrize("bug", BUGS)
def test_what_is_reported(run, bug):
    body, message = BUGS[bug]
    with pytest.raises(EmulatorError, match=message):
        run(body, grid=2)


@pytest.mark.parametrize("code", FINE)
@pytest.mark.parametrize("order", [0, 1, 7])
def test_what_is_fine(run, code, order):
    with emulator.thread_order(order):
        run(FINE[code], grid=1)


def test_results_are_those_of_the_unchecked_kernel(run):
    np.testing.assert_allclose(run(EXPONENTIAL, grid=1)[:64], np.e * 64 + np.arange(64), rtol=1e-6)
