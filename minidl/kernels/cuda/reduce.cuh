// Sums over the threads of a block, in an order that depends on nothing but the block's size: the same numbers give
// the same result, bit for bit, in every run.  (atomicAdd would add in the order in which blocks happen to finish.)
#pragma once
#include "real.cuh"

// The sum of what the threads of a column, those with the same threadIdx.x, bring; thread (x, 0) receives it.
//
// Value: a number or a struct with +=.  shared: a place for each thread of the block.  blockDim.y is a power of two.
// All threads of the block call it together.  Halves are added until one is left: 8 rows take 3 steps.
//
//     row 0   a ----+ a+e ----+ a+e+c+g ----+ all
//     row 1   b     | b+f     | b+f+d+h ----'
//     row 2   c     | c+g ----'
//     row 3   d     | d+h ----'
//     row 4   e ----'  ...
template <class Value> __device__ Value column_sum(Value value, Value* shared) {
    int place = threadIdx.y * blockDim.x + threadIdx.x;
    shared[place] = value;
    for (int half = blockDim.y / 2; half > 0; half /= 2) {
        __syncthreads();  // what the other half holds is written
        if (threadIdx.y < half) shared[place] += shared[place + half * blockDim.x];
    }
    return shared[place];
}
