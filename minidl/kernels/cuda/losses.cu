// Losses, each the sum over all entries, and their gradients (notes H1, H2).  Computed in `real` throughout.
#include "real.cuh"
#include "warp.cuh"
#include "sigmoid.cuh"

// Where the numbers of a smaller array stand that is broadcast to a larger one: along axes on which it has but one
// number, its stride is 0.  The sizes are the larger array's.
struct Broadcast {
    int axes;
    int size[6], stride[6];
};

// The place in the smaller array of the larger one's number i.
__device__ inline unsigned place(unsigned i, const Broadcast& broadcast) {
    unsigned at = 0;
#pragma unroll  // so that the struct is read by fixed addresses and need not be copied to the thread's own memory
    for (int axis = 5; axis >= 0; axis--) {
        if (axis >= broadcast.axes) continue;
        at += i % broadcast.size[axis] * broadcast.stride[axis];
        i /= broadcast.size[axis];
    }
    return at;
}

// A null pointer stands for weights of 1.
__device__ inline real weight_of(unsigned i, const real* weights, const Broadcast& broadcast) {
    return weights ? weights[place(i, broadcast)] : real(1);
}

// In logits x and targets t, -[t log p + (1 - t) log(1 - p)] is max(x, 0) - x t + log(1 + e^-|x|): finite for every x.
// parts[block] = the sum of the block's terms
extern "C" __global__ void bce_with_logits(const real* x, const real* targets, Broadcast of_targets,
                                           const real* weights, Broadcast of_weights, real* parts, unsigned count) {
    real sum = 0;
    for (unsigned i = blockIdx.x * blockDim.x + threadIdx.x; i < count; i += gridDim.x * blockDim.x) {
        real term = fmax(x[i], real(0)) - x[i] * targets[place(i, of_targets)] + log1p(exp(-fabs(x[i])));
        sum += weight_of(i, weights, of_weights) * term;
    }
    sum = block_sum(sum);
    if (threadIdx.x == 0) parts[blockIdx.x] = sum;
}

// dx = grad * w * (p - t)
extern "C" __global__ void bce_with_logits_grad(const real* grad, const real* x, const real* targets,
                                                Broadcast of_targets, const real* weights, Broadcast of_weights,
                                                real* dx, unsigned count) {
    unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= count) return;
    real difference = sigmoid_of(x[i]) - targets[place(i, of_targets)];
    dx[i] = *grad * weight_of(i, weights, of_weights) * difference;
}

// parts[block] = the sum of the block's w (x - t)^2 / 2
extern "C" __global__ void squared_error(const real* x, const real* targets, Broadcast of_targets, const real* weights,
                                         Broadcast of_weights, real* parts, unsigned count) {
    real sum = 0;
    for (unsigned i = blockIdx.x * blockDim.x + threadIdx.x; i < count; i += gridDim.x * blockDim.x) {
        real difference = x[i] - targets[place(i, of_targets)];
        sum += weight_of(i, weights, of_weights) * difference * difference / 2;
    }
    sum = block_sum(sum);
    if (threadIdx.x == 0) parts[blockIdx.x] = sum;
}

// dx = grad * w * (x - t)
extern "C" __global__ void squared_error_grad(const real* grad, const real* x, const real* targets,
                                              Broadcast of_targets, const real* weights, Broadcast of_weights, real* dx,
                                              unsigned count) {
    unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= count) return;
    dx[i] = *grad * weight_of(i, weights, of_weights) * (x[i] - targets[place(i, of_targets)]);
}

// parts[block] = the sum of -log_probabilities[row, labels[row]] over the block's rows.
// A label that is no class must not read foreign memory: it makes the loss NaN, which is the logarithm of -1.
extern "C" __global__ void cross_entropy(const real* log_probabilities, const int* labels, real* parts, unsigned rows,
                                         int classes) {
    real sum = 0;
    for (unsigned row = blockIdx.x * blockDim.x + threadIdx.x; row < rows; row += gridDim.x * blockDim.x) {
        bool is_class = 0 <= labels[row] && labels[row] < classes;
        sum -= is_class ? log_probabilities[(unsigned long long)row * classes + labels[row]] : log(real(-1));
    }
    sum = block_sum(sum);
    if (threadIdx.x == 0) parts[blockIdx.x] = sum;
}

// dx[row, c] = grad * (e^log_probability - (1 if c is the label else 0)): a thread per number
extern "C" __global__ void cross_entropy_grad(const real* grad, const real* log_probabilities, const int* labels,
                                              real* dx, unsigned count, int classes) {
    unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= count) return;
    int is_label = labels[i / classes] == int(i % classes);
    dx[i] = *grad * (exp(log_probabilities[i]) - is_label);
}
