// The CPU twins of mma.cuh: same names, same signatures, same results, without PTX.  In each, the 32 lanes of a warp
// work together: they lay their parts into a scratch memory of the warp, wait for each other, and read what they need.
#pragma once

// float32 to TF32, which keeps 10 of 23 fraction bits: nearest, ties away from zero (PTX ISA, cvt.rna.tf32.f32).
inline unsigned to_tf32(float value) {
    unsigned bits = emulator::bits_of(value);
    return value != value ? 0x7fffffff : (bits + 0x1000) & 0xffffe000;
}

namespace emulator {
// The tensor core looks at no more than TF32's bits.
inline float tf32_value(unsigned bits) { return float_of(bits & 0xffffe000); }

// d (16, 8) += a (16, depth) @ b (depth, 8).  Of d, lane l holds rows l / 4 and l / 4 + 8 in columns l % 4 * 2 and the
// next.
template <int depth>
EMULATED_INSTRUCTION inline void multiply_add(float (&d)[4], const float* a, const float* b) {
    for (int i = 0; i < 4; ++i) {
        int row = lane() / 4 + i / 2 * 8, column = lane() % 4 * 2 + i % 2;
        float sum = 0;
        for (int k = 0; k < depth; ++k) sum += a[row * depth + k] * b[k * 8 + column];
        d[i] += sum;
    }
}
}  // namespace emulator

// d (16, 8) += a (16, 8) @ b (8, 8) in TF32 (PTX ISA, "Matrix Fragments for mma.m16n8k8").
EMULATED_INSTRUCTION inline void mma_m16n8k8_tf32(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2],
                                                  emulator::Place place = emulator::Place::here()) {
    float *matrix_a = emulator_warp_scratch(), *matrix_b = matrix_a + 16 * 8;
    int group = emulator::lane() / 4, member = emulator::lane() % 4;
    for (int i = 0; i < 4; ++i)
        matrix_a[(group + i % 2 * 8) * 8 + member + i / 2 * 4] = emulator::tf32_value(a[i]);
    for (int i = 0; i < 2; ++i) matrix_b[(member + i * 4) * 8 + group] = emulator::tf32_value(b[i]);
    emulator_wait_for_warp(~0u, __func__, place);
    emulator::multiply_add<8>(d, matrix_a, matrix_b);
    emulator_wait_for_warp(~0u, __func__, place);  // before another operation fills the scratch memory
}

// d (16, 8) += a (16, 16) @ b (16, 8), halves into floats; a register holds two halves that are neighbours along the
// depth (PTX ISA, "Matrix Fragments for mma.m16n8k16 with floating point type").
EMULATED_INSTRUCTION inline void mma_m16n8k16_f16(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2],
                                                  emulator::Place place = emulator::Place::here()) {
    float *matrix_a = emulator_warp_scratch(), *matrix_b = matrix_a + 16 * 16;
    int group = emulator::lane() / 4, member = emulator::lane() % 4;
    for (int part = 0; part < 2; ++part) {
        int depth = member * 2 + part;
        for (int i = 0; i < 4; ++i)
            matrix_a[(group + i % 2 * 8) * 16 + depth + i / 2 * 8] = emulator::float_of_half(a[i] >> 16 * part);
        for (int i = 0; i < 2; ++i) matrix_b[(depth + i * 8) * 8 + group] = emulator::float_of_half(b[i] >> 16 * part);
    }
    emulator_wait_for_warp(~0u, __func__, place);
    emulator::multiply_add<16>(d, matrix_a, matrix_b);
    emulator_wait_for_warp(~0u, __func__, place);
}

namespace emulator {
// Four matrices of 8 x 8 halves (PTX ISA, "ldmatrix"): lane l brings the 16 bytes of row l % 8 of matrix l / 8, and
// gets from row l / 4 of each matrix i, in r[i], the two halves that start at column l % 4 * 2.
EMULATED_INSTRUCTION inline void load_matrices(unsigned (&r)[4], const void* row, bool transposed,
                                               const char* operation, Place place) {
    uint16_t* matrices = (uint16_t*)emulator_warp_scratch();
    memcpy(matrices + lane() * 8, row, 16);
    emulator_wait_for_warp(~0u, operation, place);
    int y = lane() / 4, x = lane() % 4 * 2;
    for (int i = 0; i < 4; ++i) {
        const uint16_t* matrix = matrices + i * 64;
        unsigned low = transposed ? matrix[x * 8 + y] : matrix[y * 8 + x];
        unsigned high = transposed ? matrix[(x + 1) * 8 + y] : matrix[y * 8 + x + 1];
        r[i] = low | high << 16;
    }
    emulator_wait_for_warp(~0u, operation, place);
}
}  // namespace emulator
EMULATED_INSTRUCTION inline void load_matrix_x4(unsigned (&r)[4], const void* shared_row,
                                                emulator::Place place = emulator::Place::here()) {
    EMULATED_TOUCH(shared_row, 16, READ);
    emulator::load_matrices(r, shared_row, false, __func__, place);
}
EMULATED_INSTRUCTION inline void load_matrix_x4_transposed(unsigned (&r)[4], const void* shared_row,
                                                           emulator::Place place = emulator::Place::here()) {
    EMULATED_TOUCH(shared_row, 16, READ);
    emulator::load_matrices(r, shared_row, true, __func__, place);
}

// A copy of 16 bytes that goes on in the background (PTX ISA, "cp.async"); zeros are written where the source is not
// inside the array.  It is made as late as it may be, when a wait asks for it: a missing wait is noticed.
EMULATED_INSTRUCTION inline void copy_async_16(void* shared, const void* global, bool inside) {
    emulator_copy_later(shared, global, 16, inside, __builtin_return_address(0));
}
inline void copy_async_commit() { emulator_end_copy_group(); }
template <int groups_left>
void copy_async_wait() {
    emulator_wait_for_copies(groups_left);
}
