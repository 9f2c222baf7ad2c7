"""Kernels with a bug planted in each, and the checks that must notice it.

The three kernels use what CUDA kernels use: shared tiles between barriers, sums by shuffles and atomics, tensor cores
fed by background copies.  A bug is a piece of text put in another's place.  The checks:

    orders     the result is wrong in at least one of three orders of threads
    reported   the emulator raises EmulatorError in an ordinary launch
    guards     the stand-in finds its guard bytes overwritten
    checking   `emulator.checking()` raises EmulatorError, and names the line of the bug
    address, undefined, thread    a sanitizer finds it, in a process of its own

Run under a sanitizer: ``python -m tests.minidl.cuda.planted_bugs NAME``.
"""

import sys
from dataclasses import dataclass
from functools import cache

import numpy as np

from minidl.kernels.cuda.emulator import stand_in
from tests.minidl.harness import numbers

# c (rows, columns) = a (rows, depth) @ b (depth, columns), in tiles of 8 x 8
PRODUCT = """#line 1 "planted.cu"
extern "C" __global__ void product(const float* a, const float* b, float* c, int rows, int columns, int depth) {
    __shared__ float tile_a[8][8], tile_b[8][8];
    int x = threadIdx.x, y = threadIdx.y, row = blockIdx.y * 8 + y, column = blockIdx.x * 8 + x;
    float sum = 0;
    for (int start = 0; start < depth; start += 8) {
        bool inside_a = row < rows && start + x < depth;
        bool inside_b = start + y < depth && column < columns;
        tile_a[y][x] = inside_a ? a[row * depth + start + x] : 0;
        tile_b[y][x] = inside_b ? b[(start + y) * columns + column] : 0;
        __syncthreads();  // loaded
        for (int k = 0; k < 8; ++k) sum += tile_a[y][k] * tile_b[k][x];
        __syncthreads();  // used
    }
    if (row < rows && column < columns) c[row * columns + column] = sum;
}
"""

# total[0] += the sum of x, 128 threads a block; as_four: the first four numbers
SUM = """#line 1 "planted.cu"
extern "C" __global__ void total(const float* x, float* total, float4* as_four, int count) {
    __shared__ float of_warps[4];
    int i = blockIdx.x * blockDim.x + threadIdx.x, warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    float sum = i < count ? x[i] : 0;
    for (int distance = 16; distance > 0; distance /= 2) sum += __shfl_down_sync(0xffffffff, sum, distance);
    if (lane == 0) of_warps[warp] = sum;
    __syncthreads();
    if (threadIdx.x == 0) {
        float all = of_warps[0] + of_warps[1] + of_warps[2] + of_warps[3];
        atomicAdd(total, all);
    }
    if (i == 0) *as_four = *reinterpret_cast<const float4*>(x);
}
"""

# d (16, 8) = a (16, depth) @ b (depth, 8) in TF32 by one warp; depth a multiple of 8, copied ahead of its use
TENSOR = """#line 1 "planted.cu"
extern "C" __global__ void tensor(const float* a, const float* b, float* d, int depth) {
    __shared__ __align__(16) float tile_a[2][16][8], tile_b[2][8][8];
    int lane = threadIdx.x, group = lane / 4, member = lane % 4;
    float sums[4] = {0, 0, 0, 0};
    auto load = [&](int start) {
        int stage = start / 8 % 2, row = lane / 2, column = lane % 2 * 4;
        bool inside = start < depth;
        copy_async_16(&tile_a[stage][row][column], a + row * depth + (inside ? start + column : 0), inside);
        if (row < 8) copy_async_16(&tile_b[stage][row][column], b + (inside ? (start + row) * 8 + column : 0), inside);
        copy_async_commit();
    };
    load(0);
    for (int start = 0; start < depth; start += 8) {
        int stage = start / 8 % 2;
        load(start + 8);
        copy_async_wait<1>();
        __syncwarp();  // loaded
        unsigned own_a[4], own_b[2];
        for (int i = 0; i < 4; ++i) own_a[i] = to_tf32(tile_a[stage][group + i % 2 * 8][member + i / 2 * 4]);
        for (int i = 0; i < 2; ++i) own_b[i] = to_tf32(tile_b[stage][member + i * 4][group]);
        mma_m16n8k8_tf32(sums, own_a, own_b);
        __syncwarp();  // used
    }
    for (int i = 0; i < 4; ++i) d[(group + i / 2 * 8) * 8 + member * 2 + i % 2] = sums[i];
}
"""


@dataclass(frozen=True)
class Bug:
    """In a kernel, ``wrong`` in the place of ``right``; who must notice; a piece of the line that checking() names."""

    kernel: str
    right: str
    wrong: str
    noticed_by: tuple
    line: str | None = None

    def source(self):
        """The kernel with the bug."""
        right = SOURCES[self.kernel]
        assert right.count(self.right) == 1, self.right
        return right.replace(self.right, self.wrong)

    def lines(self):
        """The numbers of the lines that hold the piece."""
        source = self.source().splitlines()[1:]
        return [number for number, text in enumerate(source, 1) if self.line in text]


SOURCES = {"product": PRODUCT, "total": SUM, "tensor": TENSOR}
LOADED, USED = "__syncthreads();  // loaded", "__syncthreads();  // used"
BUGS = {
    "no barrier after loading": Bug("product", LOADED, "", ("orders", "checking", "thread"), "sum += tile_a"),
    "no barrier after use": Bug("product", USED, "", ("orders", "checking"), "tile_a[y][x] ="),
    "a barrier for some threads": Bug("product", USED, "if (row < rows) __syncthreads();", ("reported",)),
    "a barrier in each branch": Bug(
        "product", USED, "if (x < 3) __syncthreads();\nelse __syncthreads();", ("reported",)
    ),
    "reads a row too many": Bug(
        "product", "row < rows && start", "row <= rows && start", ("checking", "address"), "? a["
    ),
    "writes a row too many": Bug(
        "product", "row < rows && column", "row <= rows && column", ("guards", "checking", "address"), "= sum;"
    ),
    "forgets the last column's edge": Bug(
        "product", "row < rows && column < columns", "row < rows", ("orders", "guards", "checking"), "= sum;"
    ),
    "leaves a shared tile": Bug(
        "product", "tile_b[y][x] =", "tile_b[y][x + 8 * (y == 7)] =", ("checking",), "tile_b[y][x +"
    ),
    "leaves shared memory as it is": Bug(
        "total", "if (lane == 0)", "if (lane == 0 && i < count)", ("orders", "checking"), "float all ="
    ),
    "adds without an atomic": Bug(
        "total", "atomicAdd(total, all)", "*total += all", ("checking", "thread"), "*total += all"
    ),
    "shuffles with lanes that have ended": Bug(
        "total", "float sum = i", "if (i >= count) return;\nfloat sum = i", ("reported",)
    ),
    "shuffles with half a mask": Bug("total", "0xffffffff", "0x0000ffff", ("reported",)),
    "no barrier between the warps": Bug(
        "total", "__syncthreads();", "", ("orders", "checking", "thread"), "float all ="
    ),
    "reads four numbers off their alignment": Bug(
        "total", "const float4*>(x)", "const float4*>(x + 1)", ("checking", "undefined"), "*as_four"
    ),
    "shifts by too much": Bug("total", "sum += __shfl", "sum += (1 << (distance + 30)) * 0 + __shfl", ("undefined",)),
    "no wait for the copies": Bug("tensor", "copy_async_wait<1>();", "", ("orders", "checking"), "to_tf32(tile_a"),
    "waits for a group too few": Bug(
        "tensor", "copy_async_wait<1>();", "copy_async_wait<2>();", ("orders", "checking"), "to_tf32(tile_a"
    ),
    "no warp barrier after the copies": Bug(
        "tensor", "__syncwarp();  // loaded", "", ("orders", "checking"), "to_tf32("
    ),
    "no warp barrier after use": Bug("tensor", "__syncwarp();  // used", "", ("checking",), "copy_async_16"),
    "copies beyond the array": Bug(
        "tensor", "bool inside = start < depth", "bool inside = true", ("checking",), "copy_async_16"
    ),
}


@cache
def module_source():
    """All kernels, without bugs and with, in one text: each under the name that :func:`kernel_name` gives it."""
    sources = SOURCES | {name: bug.source() for name, bug in BUGS.items()}
    return "".join(
        source.replace(f"void {kernel_of(name)}(", f"void {kernel_name(name)}(") for name, source in sources.items()
    )


def kernel_of(name):
    """The kernel that a bug is planted in; itself for a kernel without."""
    return BUGS[name].kernel if name in BUGS else name


def kernel_name(name):
    """What the kernel with a bug is called: with an underscore for each blank of the bug's name."""
    return name.replace(" ", "_").replace("'", "")


@cache
def _inputs(kernel):
    """``(grid, block, inputs, shapes of the outputs, numbers, wanted outputs)`` of a kernel."""
    if kernel == "product":
        a, b = numbers(19, 21).astype(np.float32), numbers(21, 13, seed=1).astype(np.float32)
        return (2, 3), (8, 8), (a, b), [(19, 13)], (19, 13, 21), [a.astype(np.float64) @ b]
    if kernel == "total":
        x = numbers(300).astype(np.float32)
        return (3,), (128,), (x,), [(1,), (4,)], (300,), [[x.sum(dtype=np.float64)], x[:4]]
    a, b = (numbers(*shape).astype(np.float32) for shape in ((16, 40), (40, 8)))
    return (1,), (32,), (a, b), [(16, 8)], (40,), [a.astype(np.float64) @ b]


def is_right(name):
    """Run a kernel, without bug or with the one of that name, on the stand-in's arrays: is the result right?"""
    kernel = kernel_of(name)
    grid, block, inputs, shapes, sizes, wanted = _inputs(kernel)
    outputs = [stand_in.zeros(shape, np.float32) for shape in shapes]
    run = _module().get_function(kernel_name(name))
    run(grid, block, (*map(stand_in.asarray, inputs), *outputs, *map(np.int32, sizes)))
    close = {"product": 1e-5, "total": 1e-4, "tensor": 2e-2}[kernel]
    return all(np.abs(own.get() - right).max() < close for own, right in zip(outputs, wanted, strict=True))


@cache
def _module():
    return stand_in.RawModule(code=module_source())


if __name__ == "__main__":
    for name in sys.argv[1:]:
        is_right(name)
