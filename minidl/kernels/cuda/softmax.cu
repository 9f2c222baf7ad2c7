// Softmax and its logarithm along rows: x (rows, columns).  A warp per row: its lanes take the columns in turn.
#include "real.cuh"
#include "warp.cuh"

// The largest number is taken out of all exponents, so that nothing overflows.
__device__ inline real row_max(const storage* x, int columns, int lane) {
    real largest = x[0];
    for (int column = lane; column < columns; column += 32) largest = fmax(largest, real(x[column]));
    return warp_max(largest);
}

__device__ inline real sum_of_powers(const storage* x, real largest, int columns, int lane) {
    real sum = 0;
    for (int column = lane; column < columns; column += 32) sum += exp(real(x[column]) - largest);
    return warp_sum(sum);
}

// y = e^x / sum(e^x)
extern "C" __global__ void softmax(const storage* x, storage* y, int rows, int columns) {
    int row = (blockIdx.x * blockDim.x + threadIdx.x) / 32, lane = threadIdx.x % 32;
    if (row >= rows) return;  // all lanes of the warp together
    x += (long long)row * columns;
    y += (long long)row * columns;
    real largest = row_max(x, columns, lane);
    real sum = sum_of_powers(x, largest, columns, lane);
    for (int column = lane; column < columns; column += 32) y[column] = exp(real(x[column]) - largest) / sum;
}

// y = x - log(sum(e^x))
extern "C" __global__ void log_softmax(const storage* x, storage* y, int rows, int columns) {
    int row = (blockIdx.x * blockDim.x + threadIdx.x) / 32, lane = threadIdx.x % 32;
    if (row >= rows) return;
    x += (long long)row * columns;
    y += (long long)row * columns;
    real largest = row_max(x, columns, lane);
    real log_sum = log(sum_of_powers(x, largest, columns, lane));
    for (int column = lane; column < columns; column += 32) y[column] = real(x[column]) - largest - log_sum;
}

// dx = y * (grad - sum(grad * y))
extern "C" __global__ void softmax_grad(const storage* grad, const storage* y, storage* dx, int rows, int columns) {
    int row = (blockIdx.x * blockDim.x + threadIdx.x) / 32, lane = threadIdx.x % 32;
    if (row >= rows) return;
    grad += (long long)row * columns;
    y += (long long)row * columns;
    dx += (long long)row * columns;
    real sum = 0;
    for (int column = lane; column < columns; column += 32) sum += real(grad[column]) * real(y[column]);
    sum = warp_sum(sum);
    for (int column = lane; column < columns; column += 32) dx[column] = real(y[column]) * (real(grad[column]) - sum);
}

// dx = grad - e^y * sum(grad), for y = log_softmax(x)
extern "C" __global__ void log_softmax_grad(const storage* grad, const storage* y, storage* dx, int rows,
                                            int columns) {
    int row = (blockIdx.x * blockDim.x + threadIdx.x) / 32, lane = threadIdx.x % 32;
    if (row >= rows) return;
    grad += (long long)row * columns;
    y += (long long)row * columns;
    dx += (long long)row * columns;
    real sum = 0;
    for (int column = lane; column < columns; column += 32) sum += real(grad[column]);
    sum = warp_sum(sum);
    for (int column = lane; column < columns; column += 32)
        dx[column] = real(grad[column]) - exp(real(y[column])) * sum;
}
