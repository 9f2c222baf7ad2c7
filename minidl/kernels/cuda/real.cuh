// The types of numbers: `storage` is what arrays hold, `real` is what kernels compute in.
//
//     NUMBER_BITS   storage   real
//     16            half16    float     half the memory to move; sums stay precise
//     32            float     float     the default
//     64            double    double    for gradient checks
//
// A value of either type turns into the other by assignment.
#pragma once

#ifdef CUDA_EMULATED
using half16 = emulated_half;
#else
// Half precision without a header: 16 bits and the two instructions that convert them (PTX ISA, cvt).
struct half16 {
    unsigned short bits;
    half16() = default;
    __device__ half16(float value) { asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(value)); }
    __device__ operator float() const {
        float value;
        asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(bits));
        return value;
    }
};
#endif

#if NUMBER_BITS == 16
typedef half16 storage;
typedef float real;
#elif NUMBER_BITS == 64
typedef double storage;
typedef double real;
#else
typedef float storage;
typedef float real;
#endif

// Four neighbours in memory, moved by one instruction; their address must be a multiple of alignof(Four<Number>).
template <class Number> struct alignas(sizeof(Number) < 4 ? 8 : 16) Four {
    Number numbers[4];
    __device__ Number& operator[](int i) { return numbers[i]; }
    __device__ const Number& operator[](int i) const { return numbers[i]; }
};
typedef Four<real> real4;

__device__ inline real4 read4(const storage* from) {
    Four<storage> four = *reinterpret_cast<const Four<storage>*>(from);
    return {real(four[0]), real(four[1]), real(four[2]), real(four[3])};
}
template <class Number> __device__ inline void write4(Number* to, const real4& four) {
    *reinterpret_cast<Four<Number>*>(to) = {Number(four[0]), Number(four[1]), Number(four[2]), Number(four[3])};
}
