// Arithmetic on arrays of equal shape: one thread per number.
#include "real.cuh"
#include "sigmoid.cuh"

// y[i] = a[i] + b[i]
extern "C" __global__ void add(const storage* a, const storage* b, storage* y, unsigned count) {
    unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= count) return;  // the last block has threads to spare
    y[i] = real(a[i]) + real(b[i]);
}

// y[i] = share_a * a[i] + share_b * b[i]
extern "C" __global__ void weighted_sum(const real* a, const real* b, real* y, real share_a, real share_b,
                                        unsigned count) {
    unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= count) return;
    y[i] = share_a * a[i] + share_b * b[i];
}

// y[i] = 1 / (1 + e^-x[i])
extern "C" __global__ void sigmoid(const storage* x, storage* y, unsigned count) {
    unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= count) return;
    y[i] = sigmoid_of(x[i]);
}

// dx[i] = grad[i] * y[i] * (1 - y[i])
extern "C" __global__ void sigmoid_grad(const storage* grad, const storage* y, storage* dx, unsigned count) {
    unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= count) return;
    real value = y[i];
    dx[i] = real(grad[i]) * value * (1 - value);
}
