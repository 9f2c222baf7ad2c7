// Sums and maxima over the threads of a warp and of a block.  All threads must call them together, and all get the
// result.  The order of the additions is fixed, so that a sum is the same in every run.
#pragma once
#include "real.cuh"

// Each lane adds the lane whose number differs in one bit: after five exchanges all 32 hold the sum of all.
__device__ inline real warp_sum(real value) {
    for (int bit = 16; bit > 0; bit /= 2) value += __shfl_xor_sync(0xffffffff, value, bit);
    return value;
}

// The same with the larger of two numbers in place of their sum.
__device__ inline real warp_max(real value) {
    for (int bit = 16; bit > 0; bit /= 2) value = fmax(value, __shfl_xor_sync(0xffffffff, value, bit));
    return value;
}

// The sum over a block of whole warps in one dimension: each warp sums, then every warp sums the warps' sums.
__device__ inline real block_sum(real value) {
    __shared__ real of_warps[32];
    int warp = threadIdx.x / 32, lane = threadIdx.x % 32, warps = blockDim.x / 32;
    value = warp_sum(value);
    if (lane == 0) of_warps[warp] = value;
    __syncthreads();
    value = warp_sum(lane < warps ? of_warps[lane] : real(0));
    __syncthreads();  // the next sum may write of_warps again
    return value;
}
