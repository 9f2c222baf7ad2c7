// The logistic function (notes H2).
#pragma once
#include "real.cuh"

// 1 / (1 + e^-x), by e^-|x| <= 1 alone, so that nothing overflows.
__device__ inline real sigmoid_of(real x) {
    real small = exp(-fabs(x));
    return (x >= 0 ? 1 : small) / (1 + small);
}
