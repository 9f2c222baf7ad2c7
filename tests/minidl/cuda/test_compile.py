"""NVIDIA's own compiler takes every kernel, finds room for it, and needs as many registers as it did."""

import pytest

from tests.minidl.cuda.compile_check import (
    REFRESH,
    TABLE,
    CompileError,
    Usage,
    cases_of,
    compile_all,
    find_compiler,
    read_report,
    sources,
    table,
)

MOST_REGISTERS = 255  # of a thread (CUDA C++ Programming Guide, table of compute capabilities)

REPORT = """
ptxas info    : Compiling entry function 'first' for 'sm_90'
ptxas info    : Function properties for first
    16 bytes stack frame, 8 bytes spill stores, 12 bytes spill loads
ptxas info    : Used 40 registers, used 1 barriers, 16 bytes cumulative stack size, 2112 bytes smem, 400 bytes cmem[0]
ptxas info    : Compiling entry function 'second' for 'sm_90'
ptxas info    : Function properties for second
ptxas         .     0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 12 registers, used 0 barriers
"""

# Two hundred sums, all alive at once, of which a thread of so large a block has room for 64.
CROWDED = """
extern "C" __global__ void __launch_bounds__(1024) crowded(const float* x, float* y, int count) {
    float sums[200] = {};
    for (int i = 0; i < count; i++) {
#pragma unroll
        for (int k = 0; k < 200; k++) sums[k] += x[i + k] * x[i * k];
    }
#pragma unroll
    for (int k = 0; k < 200; k++) y[threadIdx.x + k * 1024] = sums[k];
}
"""


@pytest.fixture(scope="module")
def compiler():
    found = find_compiler()
    if found is None:
        pytest.skip("neither nvcc nor the wheel nvidia-cuda-nvrtc is installed")
    return found


@pytest.fixture(scope="module")
def usages(compiler):
    return compile_all()


def test_a_report_is_read():
    first, second = read_report(REPORT, "some.cu", "float32", 90)
    assert first == Usage("some.cu", "first", "float32", 90, registers=40, shared=2112, stack=16, spilled=20)
    assert second == Usage("some.cu", "second", "float32", 90, registers=12, shared=0, stack=0, spilled=0)


def test_a_spill_is_noticed(compiler):
    (usage,) = read_report(compiler.compile(CROWDED, 80, ("-std=c++17",)), "crowded.cu", "float32", 80)
    assert usage.kernel == "crowded"
    assert usage.registers <= 64
    assert usage.spilled > 0


def test_an_error_is_the_compilers(compiler):
    with pytest.raises(CompileError, match="undefined_name"):
        compiler.compile('extern "C" __global__ void f(int* x) { *x = undefined_name; }', 90, ())


def test_every_file_is_compiled(usages):
    assert {each.file for each in usages} == set(sources())


def test_what_is_compiled_for_what():
    everywhere = {(numbers, each) for numbers in ("float16", "float32") for each in (75, 80, 90)}
    assert {case[1:] for case in cases_of("conv_plain.cu")} == everywhere | {("float64", 90)}
    assert {case[1:] for case in cases_of("conv_tensor.cu")} == {each for each in everywhere if each[1] >= 80}


def test_every_kernel_fits_into_its_registers(usages):
    """Those in float64 need not: they serve gradient checks, and time does not matter."""
    crowded = [
        f"{each}: {each.registers} registers, {each.spilled} bytes spilled"
        for each in usages
        if each.registers > MOST_REGISTERS or (each.spilled and each.numbers != "float64")
    ]
    assert not crowded, "\n".join(crowded)


def test_registers_are_those_recorded(compiler, usages):
    """Each register more is perhaps a block less on every multiprocessor: nobody shall need it without noticing."""
    recorded, found = TABLE.read_text().splitlines(), table(usages, compiler).splitlines()
    if recorded[0] != found[0]:
        pytest.skip(f"the table is that of another compiler, {recorded[0].split(';')[0]}, not of {compiler.name}")
    changes = [f"- {line}" for line in recorded if line not in found]
    changes += [f"+ {line}" for line in found if line not in recorded]
    assert not changes, "\n".join([f"these lines changed; if that is meant: {REFRESH}", *changes])
