// One step of an optimiser for one parameter: a thread per number, everything in a single pass over memory.
#include "real.cuh"

// v = momentum v + grad + decay w;  w = w - rate v                                                          (spec 6)
extern "C" __global__ void sgd_update(real* w, const real* grad, real* velocity, real rate, real momentum, real decay,
                                      unsigned count) {
    unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= count) return;
    real v = momentum * velocity[i] + grad[i] + decay * w[i];
    velocity[i] = v;
    w[i] -= rate * v;
}

// How Adam averages and steps.  The corrections undo that the averages start at 0: rate = learning rate / (1 - beta1^t)
// and correction = 1 - beta2^t in step t.
struct Adam {
    real rate, keep_mean, share_mean, keep_square, share_square, correction, epsilon, decay;
};

// g = grad + decay w;  m = b1 m + (1 - b1) g;  v = b2 v + (1 - b2) g^2;  w = w - rate m / (sqrt(v / correction) + epsilon)
extern "C" __global__ void adam_update(real* w, const real* grad, real* mean, real* square, Adam adam,
                                       unsigned count) {
    unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= count) return;
    real g = grad[i] + adam.decay * w[i];
    real m = adam.keep_mean * mean[i] + adam.share_mean * g;
    real v = adam.keep_square * square[i] + adam.share_square * g * g;
    mean[i] = m;
    square[i] = v;
    w[i] -= adam.rate * m / (sqrt(v / adam.correction) + adam.epsilon);
}

// average = average + share (value - average)
extern "C" __global__ void move_towards(real* average, const real* value, real share, unsigned count) {
    unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < count) average[i] += share * (value[i] - average[i]);
}

// grad = factor * grad; where a number is then infinite or NaN, *overflow becomes 1.  (All who write it write the same.)
extern "C" __global__ void unscale(real* grad, real factor, int* overflow, unsigned count) {
    unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= count) return;
    real value = factor * grad[i];
    grad[i] = value;
    bool finite = value - value == 0;  // infinity - infinity is NaN, and NaN equals nothing
    if (!finite) atomicExch(overflow, 1);
}
