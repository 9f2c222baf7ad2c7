// Tensor cores and asynchronous copies: thin wrappers of PTX instructions, for compute capability 8.0 and later.
//
// mma.sync: the 32 threads of a warp multiply two small matrices together.  Each thread holds a few numbers of each in
// its registers, as 32-bit words: one number in TF32, two halves that follow one another along the inner dimension k.
// Lane 4 g + t (g = 0..7, t = 0..3) holds, in words (PTX ISA, "Matrix Fragments for mma.m16n8k8" and "...m16n8k16"):
//
//     a, 16 rows x 8 words of k      b, 8 words of k x 8 columns     d, 16 rows x 8 columns of float
//              t    t + 4                      g                            2t    2t + 1
//       g    a[0]   a[2]                t    b[0]                    g     d[0]   d[1]
//     g + 8  a[1]   a[3]              t + 4  b[1]                  g + 8   d[2]   d[3]
//
// The emulator has functions of the same names in emulated_cuda.h.
#pragma once

#ifndef CUDA_EMULATED

// A float rounded to TF32: 10 bits after the binary point instead of 23, to nearest, ties away from zero.
__device__ inline unsigned to_tf32(float value) {
    unsigned rounded;
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(rounded) : "f"(value));
    return rounded;
}

// d += a b in TF32, 8 numbers along k; products are exact, sums are float.
__device__ inline void mma_m16n8k8_tf32(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
    asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

// d += a b in half precision, 16 numbers along k; products are exact, sums are float.
__device__ inline void mma_m16n8k16_f16(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
    asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

// The number by which instructions know a place in shared memory.
__device__ inline unsigned shared_address(const void* shared) {
    return static_cast<unsigned>(__cvta_generic_to_shared(shared));
}

// Four matrices of 8 x 8 halves (or 8 x 4 words) from shared memory: lane 8 i + r gives the address of row r of matrix
// i, 16 bytes at a multiple of 16.  Lane 4 g + t gets word t of row g of matrix i in r[i].  It takes no more time than
// reading 4 words per thread as long as the eight rows of a matrix lie in different banks.
__device__ inline void load_matrix_x4(unsigned (&r)[4], const void* shared_row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(shared_address(shared_row))
                 : "memory");
}

// The same, transposing each matrix of halves: lane 4 g + t gets rows 2t and 2t + 1 of column g.
__device__ inline void load_matrix_x4_transposed(unsigned (&r)[4], const void* shared_row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(shared_address(shared_row))
                 : "memory");
}

// Begin to copy 16 bytes into shared memory; both addresses are multiples of 16.  Zeros arrive where not `inside`, and
// the global address is then not read.
__device__ inline void copy_async_16(void* shared, const void* global, bool inside) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(shared)),
                 "l"(__cvta_generic_to_global(global)), "r"(inside ? 16 : 0)
                 : "memory");
}

// End a group: the copies that this thread began since the last group.  It may be empty.
__device__ inline void copy_async_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }

// Wait until of this thread's groups at most the N latest are still under way.
template <int N> __device__ inline void copy_async_wait() {
    asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
}

#endif
