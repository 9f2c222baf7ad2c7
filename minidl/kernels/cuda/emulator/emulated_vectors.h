// float2, float4, int4 ...: several numbers that one instruction moves, aligned to the whole (CUDA C++ Programming
// Guide, "Built-in Vector Types").
#pragma once

#define EMULATED_VECTORS(number, name, alignment_of_2, alignment_of_4)                             \
    struct alignas(alignment_of_2) name##2 { number x, y; };                                        \
    struct name##3 { number x, y, z; };                                                             \
    struct alignas(alignment_of_4) name##4 { number x, y, z, w; };                                  \
    inline name##2 make_##name##2(number x, number y) { return {x, y}; }                            \
    inline name##3 make_##name##3(number x, number y, number z) { return {x, y, z}; }               \
    inline name##4 make_##name##4(number x, number y, number z, number w) { return {x, y, z, w}; }

EMULATED_VECTORS(float, float, 8, 16)
EMULATED_VECTORS(double, double, 16, 16)
EMULATED_VECTORS(int, int, 8, 16)
EMULATED_VECTORS(unsigned, uint, 8, 16)

struct dim3 { unsigned x = 1, y = 1, z = 1; };
