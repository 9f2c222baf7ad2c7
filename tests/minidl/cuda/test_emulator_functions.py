"""What the emulator's headers give a kernel: half precision, exchange in a warp, atomics, functions of numbers.

The tensor-core functions are tested in test_mma.py, with those that run on a GPU.
"""

import shutil

import numpy as np
import pytest

from minidl.kernels.cuda import emulator
from tests.minidl.harness import numbers

pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="the emulator needs g++")
i32, f32 = np.int32, np.float32
LANES = np.arange(32)


def run(code, *arguments, threads=32):
    emulator.Module(code).get_function("kernel")((1,), (threads,), arguments)
    return arguments[-1]


def test_every_half_becomes_the_float_it_stands_for():
    halves, floats = np.arange(65536, dtype=np.uint16).view(np.float16), np.zeros(65536, f32)
    run(
        """extern "C" __global__ void kernel(const emulated_half* x, float* y) {
            for (int i = threadIdx.x; i < 65536; i += blockDim.x) y[i] = x[i];
        }""",
        halves,
        floats,
    )
    np.testing.assert_array_equal(floats, halves.astype(f32))  # NaN where NaN is wanted
    np.testing.assert_array_equal(np.signbit(floats), np.signbit(halves))


def test_floats_become_the_nearest_half():
    """Every half, what lies halfway to the next (a tie), floats beside that, and random bits."""
    halves = np.arange(0x7C00, dtype=np.uint16).view(np.float16).astype(f32)
    ties = (halves[1:] + halves[:-1]) / 2
    random = np.random.default_rng(0).integers(0, 2**32, 200_000, dtype=np.uint32).view(f32)
    near_range = (numbers(200_000, seed=1) * 10.0 ** numbers(200_000, seed=2)).astype(f32)
    special = np.array([65504, 65519.99, 65520, 1e9, np.inf, np.nan, 0, 2**-25, 2**-24, 2**-14, 3e-8], f32)
    beside = [np.nextafter(ties, f32(way)) for way in (0, np.inf)]
    x = np.concatenate([halves, ties, *beside, random, near_range, special])
    x = np.concatenate([x, -x])
    y = run(
        """extern "C" __global__ void kernel(const float* x, int count, emulated_half* y) {
            for (int i = threadIdx.x; i < count; i += blockDim.x) y[i] = x[i];
        }""",
        x,
        i32(x.size),
        np.zeros(x.size, np.float16),
    )
    with np.errstate(over="ignore", invalid="ignore"):
        wanted = x.astype(np.float16)
    numeric = ~np.isnan(x)
    np.testing.assert_array_equal(y[numeric].view(np.uint16), wanted[numeric].view(np.uint16))
    assert np.isnan(y[~numeric]).all()


@pytest.mark.parametrize("width", [2, 8, 32])
def test_shuffles(width):
    """Lanes that would reach into a later group, or out of their own, keep their value."""
    x = numbers(32)
    group, place = LANES // width, LANES % width
    flipped = LANES ^ 3
    sources = [
        group * width + 5 % width,
        np.where(flipped // width > group, LANES, flipped),
        np.where(place + 1 < width, LANES + 1, LANES),
        np.where(place >= 2, LANES - 2, LANES),
    ]
    code = """extern "C" __global__ void kernel(const double* x, int width, double* y) {
        double own = x[threadIdx.x];
        y[threadIdx.x] = __shfl_sync(~0u, own, 5, width);
        y[threadIdx.x + 32] = __shfl_xor_sync(~0u, own, 3, width);
        y[threadIdx.x + 64] = __shfl_down_sync(~0u, own, 1, width);
        y[threadIdx.x + 96] = __shfl_up_sync(~0u, own, 2, width);
    }"""
    np.testing.assert_array_equal(run(code, x, i32(width), np.zeros((4, 32))), x[np.array(sources)])


def test_types_up_to_16_bytes_are_exchanged():
    code = """extern "C" __global__ void kernel(float* y) {
        float4 own = make_float4(threadIdx.x, 2, 3, threadIdx.x * 10);
        float4 other = __shfl_sync(~0u, own, threadIdx.x + 1);
        emulated_half half = __shfl_xor_sync(~0u, emulated_half(threadIdx.x / 2.f), 1);
        y[threadIdx.x] = other.x + other.w + half;
    }"""
    np.testing.assert_array_equal(run(code, np.zeros(32, f32)), (LANES + 1) % 32 * 11 + (LANES ^ 1) / 2)


def test_votes_and_masks():
    """Half a warp votes by itself, the lanes of a warp that is not whole by themselves."""
    code = """extern "C" __global__ void kernel(unsigned* y) {
        unsigned lane = threadIdx.x % 32, mask = lane < 16 ? 0xffff : 0xffff0000;
        unsigned* own = y + 4 * threadIdx.x;
        own[0] = __ballot_sync(mask, lane % 3 == 0);
        own[1] = __any_sync(mask, lane == 20), own[2] = __all_sync(mask, lane < 16);
        own[3] = __ballot_sync(threadIdx.x < 32 ? ~0u : 0xff, 1);
    }"""
    y = run(code, np.zeros((40, 4), np.uint32), threads=40)
    thirds = sum(1 << lane for lane in range(0, 32, 3))
    assert y[3].tolist() == [thirds & 0xFFFF, 0, 1, 0xFFFFFFFF]
    assert y[30].tolist() == [thirds & 0xFFFF0000, 1, 0, 0xFFFFFFFF]
    assert y[35].tolist() == [thirds & 0xFF, 0, 1, 0xFF]


@pytest.mark.parametrize("dtype", [np.int32, np.uint32, np.float32, np.float64])
def test_atomics(dtype):
    name = {"int32": "int", "uint32": "unsigned", "float32": "float", "float64": "double"}[np.dtype(dtype).name]
    code = f"""extern "C" __global__ void kernel(const {name}* x, {name}* y) {{
        {name} own = x[threadIdx.x];
        atomicAdd(y, own), atomicSub(y + 1, own), atomicMax(y + 2, own), atomicMin(y + 3, own);
        if (threadIdx.x == 5) y[5] = atomicExch(y + 4, own);
        if (threadIdx.x == 6) y[7] = atomicCAS(y + 6, 77, own), y[8] = atomicCAS(y + 6, 78, own);
    }}"""
    x = np.arange(1, 41).astype(dtype)
    start = np.array([7, 2000, 3, 3, 44, 0, 78, 0, 0], dtype)
    y = run(code, x, start.copy(), threads=40)
    assert y.tolist() == [7 + 820, 2000 - 820, 40, 1, 6, 44, 7, 78, 78]


def test_atomic_bits():
    code = """extern "C" __global__ void kernel(unsigned* y) {
        atomicOr(y, 1u << threadIdx.x), atomicAnd(y + 1, ~(1u << threadIdx.x));
    }"""
    assert run(code, np.array([0, 0xFFFFFFFF], np.uint32), threads=8).tolist() == [0xFF, 0xFFFFFF00]


FUNCTIONS = {  # CUDA: NumPy; of positive numbers
    "exp(x)": np.exp, "log(x)": np.log, "log1p(x)": np.log1p, "tanh(x)": np.tanh, "sqrt(x)": np.sqrt,
    "rsqrt(x)": lambda x: 1 / np.sqrt(x), "fabs(-x)": np.abs, "floor(x)": np.floor, "ceil(x)": np.ceil,
    "pow(x, 3)": lambda x: x**3, "fma(x, x, x)": lambda x: x * x + x, "fmax(x, 1)": lambda x: np.maximum(x, 1),
    "fmin(x, 1)": lambda x: np.minimum(x, 1), "max(x, 2)": lambda x: np.maximum(x, 2),
    "min(2, x)": lambda x: np.minimum(x, 2), "isfinite(x) + 2 * isnan(x) + 4 * isinf(x)": np.ones_like,
}  # fmt: skip


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_functions_of_numbers(dtype):
    name = {4: "float", 8: "double"}[np.dtype(dtype).itemsize]
    lines = "".join(f"y[{place} * 32 + threadIdx.x] = {call};\n" for place, call in enumerate(FUNCTIONS))
    code = f"""extern "C" __global__ void kernel(const {name}* numbers, {name}* y) {{
        {name} x = numbers[threadIdx.x];
        {lines}
    }}"""
    x = np.abs(numbers(32)).astype(dtype) + dtype(0.01)
    y = run(code, x, np.zeros((len(FUNCTIONS), 32), dtype))
    for found, (call, function) in zip(y, FUNCTIONS.items(), strict=True):
        np.testing.assert_allclose(found, function(x.astype(np.float64)), 4 * np.finfo(dtype).eps, err_msg=call)


def test_functions_of_single_precision_and_of_bits():
    code = """extern "C" __global__ void kernel(float* y) {
        float four = 4, nan = __int_as_float(-1);
        y[0] = rsqrtf(four), y[1] = __expf(0), y[2] = __logf(1), y[3] = __powf(four, 2), y[4] = __fdividef(1, four);
        y[5] = __saturatef(four), y[6] = __saturatef(-four), y[7] = __saturatef(nan), y[8] = __saturatef(.25f);
        y[9] = __float_as_uint(1.f) == 0x3f800000 && __float_as_int(-1.f) == int(0xbf800000);
        y[10] = __uint_as_float(0x40000000), y[11] = isnan(nan) && !isfinite(nan), y[12] = isinf(1 / 0.f);
        y[13] = __popc(0xf1), y[14] = __clz(1), y[15] = __clz(0), y[16] = __ffs(8), y[17] = __ldg(y);
        y[18] = make_int4(1, 2, 3, 4).w + make_uint2(5, 6).y + make_double2(.5, .25).x + make_float3(1, 2, 3).z;
        y[19] = sizeof(float4) * 1000 + alignof(float4) * 10 + (sizeof(double4) == 32);
    }"""
    wanted = [0.5, 1, 0, 16, 0.25, 1, 0, 0, 0.25, 1, 2, 1, 1, 5, 31, 32, 4, 0.5, 13.5, 16161]
    assert run(code, np.zeros(20, f32), threads=1).tolist() == wanted
