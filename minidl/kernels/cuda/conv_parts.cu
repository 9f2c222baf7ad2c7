// What comes before and after the products of a convolution: weights rounded to the storage type, and sums that were
// split into parts added up.  Parts are always added in the same order: floating-point addition depends on it, and a
// run shall repeat bit for bit.
#include "conv_shape.cuh"

__device__ inline int own_index() { return blockIdx.x * blockDim.x + threadIdx.x; }

// part 0 + part 1 + ...; parts: (part_count, count)
__device__ inline real sum_of_parts(const real* parts, int part_count, int count, int i) {
    real sum = 0;
    for (int part = 0; part < part_count; ++part) sum += parts[part * (long long)count + i];
    return sum;
}

// rounded[i] = weight[i], in half precision where maps are stored so
extern "C" __global__ void round_weight(const real* weight, storage* rounded, int count) {
    int i = own_index();
    if (i < count) rounded[i] = weight[i];
}

// total[i] = sum of parts[:, i]
extern "C" __global__ void sum_parts(const real* parts, real* total, int part_count, int count) {
    int i = own_index();
    if (i < count) total[i] = sum_of_parts(parts, part_count, count, i);
}

// y = what follows the convolution, done to the sum of parts[:, pixel, channel]; one thread per number of y
extern "C" __global__ void finish_parts(const real* parts, const real* bias, const storage* residual, storage* y,
                                        ConvShape shape, Epilogue epilogue, int part_count, int count) {
    int i = own_index();
    if (i >= count) return;
    int pixel = i / shape.out_channels, channel = i % shape.out_channels;
    real sum = sum_of_parts(parts, part_count, count, i);
    y[pixel * (long long)shape.out_pixel + channel] = finish(sum, pixel, channel, bias, residual, shape, epilogue);
}
