// Sums of many numbers.  A sum must be the same in every run, so no thread adds to memory that others add to: blocks
// write the sums of their parts, and the same kernel adds those up in a second launch.
#include "real.cuh"
#include "reduce.cuh"
#include "warp.cuh"

// parts[block] = the sum of the numbers block, block + blocks, ... (each time blockDim.x numbers side by side)
extern "C" __global__ void sum_numbers(const storage* x, real* parts, unsigned count) {
    real sum = 0;
    for (unsigned i = blockIdx.x * blockDim.x + threadIdx.x; i < count; i += gridDim.x * blockDim.x) sum += real(x[i]);
    sum = block_sum(sum);
    if (threadIdx.x == 0) parts[blockIdx.x] = sum;
}

// parts[blockIdx.y, c] = the sum over the rows of a part: x (rows, channels), rows_per_part rows in each.
// A block is 32 channels wide, so that a warp reads 32 numbers side by side, and 8 rows high.
extern "C" __global__ void sum_rows(const storage* x, real* parts, unsigned rows, unsigned channels,
                                    unsigned rows_per_part) {
    __shared__ real sums[8 * 32];
    unsigned channel = blockIdx.x * 32 + threadIdx.x;
    unsigned first = blockIdx.y * rows_per_part, end = min(rows, first + rows_per_part);
    real sum = 0;
    if (channel < channels)
        for (unsigned row = first + threadIdx.y; row < end; row += 8)
            sum += real(x[(unsigned long long)row * channels + channel]);
    sum = column_sum(sum, sums);
    if (threadIdx.y == 0 && channel < channels) parts[(unsigned long long)blockIdx.y * channels + channel] = sum;
}
