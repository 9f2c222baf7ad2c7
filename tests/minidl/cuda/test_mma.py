"""The wrappers of tensor-core instructions, one at a time, on one warp: the emulator's twins, and PTX on a GPU.

Where each lane finds its numbers is written out as in the PTX ISA's tables; results are compared with NumPy.
"""

import numpy as np
import pytest

from minidl.device import array_library, to_cpu, to_device
from minidl.kernels.cuda.launch import options
from minidl.kernels.cuda.source import source_text
from tests.minidl.harness import numbers

KERNELS = """
extern "C" __global__ void round_to_tf32(const float* x, unsigned* bits) {
    bits[threadIdx.x] = to_tf32(x[threadIdx.x]);
}

// a: (32 lanes, 4 words), b: (32, 2), d: (32, 4)
extern "C" __global__ void multiply(const unsigned* a, const unsigned* b, float* d, int half_precision) {
    unsigned own_a[4], own_b[2];
    float own_d[4];
    for (int i = 0; i < 4; ++i) own_a[i] = a[4 * threadIdx.x + i];
    for (int i = 0; i < 2; ++i) own_b[i] = b[2 * threadIdx.x + i];
    for (int i = 0; i < 4; ++i) own_d[i] = d[4 * threadIdx.x + i];
    if (half_precision)
        mma_m16n8k16_f16(own_d, own_a, own_b);
    else
        mma_m16n8k8_tf32(own_d, own_a, own_b);
    for (int i = 0; i < 4; ++i) d[4 * threadIdx.x + i] = own_d[i];
}

// rows: (40 rows, 4 words); lane i gives the address of row order[i]
extern "C" __global__ void load_matrices(const unsigned* rows, const int* order, unsigned* r, int transposed) {
    __shared__ uint4 shared[40];
    unsigned* words = reinterpret_cast<unsigned*>(shared);
    for (int i = threadIdx.x; i < 160; i += 32) words[i] = rows[i];
    __syncthreads();
    unsigned own[4];
    if (transposed)
        load_matrix_x4_transposed(own, &shared[order[threadIdx.x]]);
    else
        load_matrix_x4(own, &shared[order[threadIdx.x]]);
    for (int i = 0; i < 4; ++i) r[4 * threadIdx.x + i] = own[i];
}

// Three groups of copies; lanes below `inside` copy, the others get zeros.  first: when at most two groups are under
// way; all: when none is.
extern "C" __global__ void copy_groups(const float* from, float* first, float* all, int inside) {
    __shared__ float4 shared[3][32];
    for (int group = 0; group < 3; ++group) {
        copy_async_16(&shared[group][threadIdx.x], from + 4 * (32 * group + threadIdx.x), threadIdx.x < inside);
        copy_async_commit();
    }
    copy_async_wait<2>();
    __syncthreads();
    const float* copied = reinterpret_cast<const float*>(shared);
    for (int i = threadIdx.x; i < 128; i += 32) first[i] = copied[i];
    copy_async_wait<0>();
    __syncthreads();
    for (int i = threadIdx.x; i < 384; i += 32) all[i] = copied[i];
}
"""
LANES = np.arange(32)
G, T = LANES // 4, LANES % 4  # "groupID" and "threadID_in_group" of the PTX ISA


@pytest.fixture
def run(gpu_device):
    """``run(kernel, *arguments)``: one warp; NumPy arrays are copied there, and the last of them are its outputs."""
    module = array_library(gpu_device).RawModule(code=source_text("mma.cuh") + KERNELS, options=options("float32"))

    def run(kernel, *arguments):
        passed = [to_device(each, gpu_device) if isinstance(each, np.ndarray) else np.int32(each) for each in arguments]
        module.get_function(kernel)((1,), (32,), tuple(passed))
        return [to_cpu(each) for each, given in zip(passed, arguments, strict=True) if isinstance(given, np.ndarray)]

    return run


def test_rounding_to_tf32(run):
    ulp = 2.0**-10  # of TF32, at 1
    pairs = {
        1: 1,
        1 + 0.49 * ulp: 1,
        1 + 0.5 * ulp: 1 + ulp,  # ties: away from zero
        1 + 1.5 * ulp: 1 + 2 * ulp,
        -1 - 0.5 * ulp: -1 - ulp,
        2 - 0.25 * ulp: 2,  # carried into the exponent
        -3.1415927: -3.140625,
        0: 0,
        np.inf: np.inf,
        -np.inf: -np.inf,
    }
    x = np.zeros(32, np.float32)
    x[: len(pairs)] = list(pairs)
    x[31] = np.nan
    bits = run("round_to_tf32", x, np.zeros(32, np.uint32))[1] & 0xFFFFE000  # the rest is ignored by the hardware
    found = bits.view(np.float32)
    np.testing.assert_array_equal(found[: len(pairs)], np.array(list(pairs.values()), np.float32))
    assert np.isnan(found[31])


def places_of_d():
    """(row, column) of d[i] of each lane, (32, 4)."""
    i = np.arange(4)
    return G[:, None] + 8 * (i // 2), 2 * T[:, None] + i % 2


def test_multiplication_in_tf32(run):
    a, b = (numbers(*shape, seed=seed).astype(np.float32) for seed, shape in enumerate([(16, 8), (8, 8)]))
    for each in (a, b):
        each.view(np.uint32)[...] &= 0xFFFFE000  # what TF32 can hold
    start = numbers(16, 8, seed=2).astype(np.float32)
    i = np.arange(4)
    words_a = a[G[:, None] + 8 * (i % 2), T[:, None] + 4 * (i // 2)].view(np.uint32)
    words_b = b[T[:, None] + 4 * i[:2], G[:, None]].view(np.uint32)
    d = run("multiply", words_a, words_b, start[places_of_d()], 0)[2]
    wanted = start + a.astype(np.float64) @ b
    np.testing.assert_allclose(d, wanted[places_of_d()], rtol=0, atol=1e-5)


def test_tf32_cuts_off_what_was_not_rounded(run):
    """The lower 13 bits of a factor have no effect, which is why to_tf32 comes first."""
    almost_two = np.full((32, 4), 2 - 2.0**-20, np.float32).view(np.uint32)
    ones = np.ones((32, 2), np.float32).view(np.uint32)
    d = run("multiply", almost_two, ones, np.zeros((32, 4), np.float32), 0)[2]
    np.testing.assert_array_equal(d, 8 * (2 - 2.0**-10))


def test_multiplication_in_half_precision(run):
    a, b = (numbers(*shape, seed=seed).astype(np.float16) for seed, shape in enumerate([(16, 16), (16, 8)]))
    start = numbers(16, 8, seed=2).astype(np.float32)
    i, pair = np.arange(4)[:, None], np.arange(2)  # which word, which half of it
    lane_g, lane_t = G[:, None, None], T[:, None, None]
    words_a = a[lane_g + 8 * (i % 2), 2 * lane_t + 8 * (i // 2) + pair].copy().view(np.uint32)[..., 0]
    words_b = b[2 * lane_t + 8 * i[:2] + pair, lane_g].copy().view(np.uint32)[..., 0]
    d = run("multiply", words_a.copy(), words_b.copy(), start[places_of_d()], 1)[2]
    wanted = start + a.astype(np.float64) @ b.astype(np.float64)
    np.testing.assert_allclose(d, wanted[places_of_d()], rtol=0, atol=1e-5)


@pytest.mark.parametrize("transposed", [False, True])
def test_matrices_from_shared_memory(transposed, run):
    halves = np.arange(40 * 8, dtype=np.uint16).reshape(40, 8)
    order = np.random.default_rng(3).permutation(40)[:32].astype(np.int32)
    rows = halves.view(np.uint32).reshape(-1)
    r = run("load_matrices", rows, order, np.zeros((32, 4), np.uint32), int(transposed))[2].view(np.uint16)
    matrices = halves[order].reshape(4, 8, 8)
    if transposed:
        matrices = matrices.transpose(0, 2, 1)
    wanted = matrices.reshape(4, 32, 2).transpose(1, 0, 2)  # lane 4 g + t: halves 2t, 2t + 1 of row g of each matrix
    np.testing.assert_array_equal(r.reshape(32, 4, 2), wanted)


def test_asynchronous_copies(run):
    x = numbers(3, 32, 4).astype(np.float32)
    first, everything = run("copy_groups", x, np.ones(128, np.float32), np.ones(384, np.float32), 20)[1:]
    wanted = np.where(np.arange(32)[:, None] < 20, x, 0)
    np.testing.assert_array_equal(first.reshape(32, 4), wanted[0])
    np.testing.assert_array_equal(everything.reshape(3, 32, 4), wanted)
