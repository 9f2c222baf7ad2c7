// Batch normalisation with leaky ReLU, forwards and backwards.
//
//     mean = sum(x) / N        variance = sum((x - mean)^2) / N          (per channel, over batch, height, width)
//     y = leaky(gamma * (x - mean) / divisor + beta)
//
// A map is a matrix here: rows (pixels of all images) times channels.  The arithmetic is nothing; moving bytes is all.
// Per number of a float32 map (float16: half of it):
//
//     forwards    4 for the statistics, 4 + 4 to normalise                                      12 bytes
//     backwards   12 (gradient, x, y) for the two sums, 12 + 4 for the gradient of x            28 bytes
//
// The variance needs no pass of its own: Welford's rule updates mean and sum of squared deviations together, value by
// value, and Chan's rule joins those of two sets.  (mean(x^2) - mean(x)^2 would be as cheap, and lose all digits where
// the mean is large.)  Each block does so for its part of the rows and writes one set per channel; a second kernel
// joins the parts in order: no atomics, so the same bits in every run.
//
// All passes lay out threads alike: threadIdx.x runs along packs of channels, so that a warp reads neighbouring bytes;
// threadIdx.y and blockIdx.y run down the rows, in steps of all the grid's rows.  A pass that reads what the pass
// before it has read goes backwards, from the last rows up: those may still lie in the L2 cache (50 MB on an H100).
// A block of a pass has 256 threads, a block that joins the parts 512 (batchnorm.py).
//
// Source: Ioffe and Szegedy 2015, Algorithm 1; Welford 1962; Chan, Golub and LeVeque 1979; spec 3.2; notes C1.
#include "leaky.cuh"
#include "packs.cuh"
#include "reduce.cuh"

// What differs between programs (batchnorm_rules.py), and between training and evaluation.
struct Rule {
    real epsilon, backward_epsilon;  // in the forward and in the backward pass
    real variance_factor;            // N / (N - 1) where a rule wants a batch's unbiased variance, else 1
    int epsilon_outside_root;
};

// What x - mean is divided by in the forward pass.
__device__ inline real divisor(real variance, const Rule& rule) {
    variance *= rule.variance_factor;
    return rule.epsilon_outside_root ? sqrt(variance) + rule.epsilon : sqrt(variance + rule.epsilon);
}

// The rows of a thread: first, first + step, ...  With their count known beforehand the compiler can unroll the loop
// over them, and have the loads of several rows under way before it needs the first.
struct OwnRows {
    int first, step, count;

    __device__ explicit OwnRows(int rows) {
        first = blockIdx.y * blockDim.y + threadIdx.y;
        step = gridDim.y * blockDim.y;
        count = first < rows ? (rows - 1 - first) / step + 1 : 0;
    }
    __device__ long long row(int i) const { return first + (long long)i * step; }
};

// ---- Statistics ----

// Of some values of each of WIDTH channels: how many, their mean, the sum of (value - mean)^2.
template <int WIDTH> struct Moments {
    real count, mean[WIDTH], squares[WIDTH];

    __device__ void include(const Pack<WIDTH>& values) {  // Welford
        count += 1;
        real share = 1 / count;
#pragma unroll
        for (int k = 0; k < WIDTH; k++) {
            real before = values[k] - mean[k];
            mean[k] += before * share;
            squares[k] += before * (values[k] - mean[k]);
        }
    }
    __device__ void operator+=(const Moments& other) {  // Chan, Golub and LeVeque
        if (other.count == 0) return;
        real own = count, share = other.count / (count + other.count);
        count += other.count;
#pragma unroll
        for (int k = 0; k < WIDTH; k++) {
            real difference = other.mean[k] - mean[k];
            mean[k] += difference * share;
            squares[k] += other.squares[k] + difference * difference * own * share;
        }
    }
};

// The moments of each part of the rows, part = blockIdx.y.  parts (3, gridDim.y, channels): counts, means, squares.
template <int WIDTH> __device__ void moments(const storage* x, real* parts, int rows, int channels) {
    __shared__ Moments<WIDTH> shared[256];
    int channel = (blockIdx.x * blockDim.x + threadIdx.x) * WIDTH;
    OwnRows own_rows(rows);
    Moments<WIDTH> own = {};
    if (channel < channels) {
        int i = 0;
        for (; i + 4 <= own_rows.count; i += 4) {  // the division would keep the compiler from loading ahead
            Pack<WIDTH> values[4];
#pragma unroll
            for (int k = 0; k < 4; k++) values[k] = load_pack<WIDTH>(x + own_rows.row(i + k) * channels + channel);
#pragma unroll
            for (int k = 0; k < 4; k++) own.include(values[k]);
        }
        for (; i < own_rows.count; i++) own.include(load_pack<WIDTH>(x + own_rows.row(i) * channels + channel));
    }
    own = column_sum(own, shared);
    if (threadIdx.y != 0 || channel >= channels) return;
    int plane = gridDim.y * channels;
    parts += blockIdx.y * channels + channel;
#pragma unroll
    for (int k = 0; k < WIDTH; k++) {
        parts[k] = own.count;
        parts[plane + k] = own.mean[k];
        parts[2 * plane + k] = own.squares[k];
    }
}

extern "C" __global__ void batchnorm_moments(const storage* x, real* parts, int rows, int channels, int width) {
    if (width == 4) moments<4>(x, parts, rows, channels);
    else moments<1>(x, parts, rows, channels);
}

// Joins the parts: a block of 8 channels and 64 threads for each, which share the parts.
extern "C" __global__ void batchnorm_join_moments(const real* parts, real* mean, real* variance, int count,
                                                  int channels) {
    __shared__ Moments<1> shared[512];
    int channel = blockIdx.x * blockDim.x + threadIdx.x, plane = count * channels;
    Moments<1> all = {};
    if (channel < channels)
        for (int part = threadIdx.y; part < count; part += blockDim.y) {
            const real* of_part = parts + part * channels + channel;
            all += Moments<1>{of_part[0], {of_part[plane]}, {of_part[2 * plane]}};
        }
    all = column_sum(all, shared);
    if (threadIdx.y != 0 || channel >= channels) return;
    mean[channel] = all.mean[0];
    variance[channel] = all.squares[0] / all.count;
}

// ---- Normalising, by the statistics of the batch or by running ones ----
//
// What is read and what is written never overlap; __restrict__ says so, and the compiler may load ahead of a store.

template <int WIDTH> __device__ void normalise(const storage* x, storage* y, const real* gamma, const real* beta,
                                               const real* mean, const real* variance, const Rule& rule, real slope,
                                               int rows, int channels) {
    int channel = (blockIdx.x * blockDim.x + threadIdx.x) * WIDTH;
    if (channel >= channels) return;
    OwnRows own_rows(rows);
    real centre[WIDTH], scale[WIDTH], shift[WIDTH];
#pragma unroll
    for (int k = 0; k < WIDTH; k++) {
        centre[k] = mean[channel + k];
        scale[k] = gamma[channel + k] / divisor(variance[channel + k], rule);
        shift[k] = beta[channel + k];
    }
#pragma unroll 4
    for (int i = 0; i < own_rows.count; i++) {
        long long at = (rows - 1 - own_rows.row(i)) * channels + channel;
        Pack<WIDTH> values = load_pack<WIDTH>(x + at);
#pragma unroll
        for (int k = 0; k < WIDTH; k++) values[k] = leaky((values[k] - centre[k]) * scale[k] + shift[k], slope);
        store_pack(y + at, values);
    }
}

extern "C" __global__ void batchnorm_normalise(const storage* __restrict__ x, storage* __restrict__ y, const real* gamma, const real* beta,
                                               const real* mean, const real* variance, Rule rule, real slope,
                                               int rows, int channels, int width) {
    if (width == 4) normalise<4>(x, y, gamma, beta, mean, variance, rule, slope, rows, channels);
    else normalise<1>(x, y, gamma, beta, mean, variance, rule, slope, rows, channels);
}

// ---- Gradients.  d is the gradient behind the activation, c = x - mean ----
//
//     dbeta = sum(d)    dgamma = sum(d c) / divisor    and, with s = sqrt(variance + epsilon),
//     dx = gamma / s * (d - sum(d) / N - c / s^2 * sum(d c) / N)      in training: what flows through the mean and
//                                                                     the variance comes off
//     dx = gamma / divisor * d                                        in evaluation: the statistics are constants

template <int WIDTH> struct GradientSums {
    real d[WIDTH], dc[WIDTH];

    __device__ void operator+=(const GradientSums& other) {
#pragma unroll
        for (int k = 0; k < WIDTH; k++) {
            d[k] += other.d[k];
            dc[k] += other.dc[k];
        }
    }
};

// The sums of each part of the rows, part = blockIdx.y: parts (2, gridDim.y, channels).
template <int WIDTH> __device__ void gradient_sums(const storage* grad, const storage* x, const storage* y,
                                                   const real* mean, real* parts, real slope, int rows,
                                                   int channels) {
    __shared__ GradientSums<WIDTH> shared[256];
    int channel = (blockIdx.x * blockDim.x + threadIdx.x) * WIDTH;
    OwnRows own_rows(rows);
    GradientSums<WIDTH> own = {};
    if (channel < channels) {
        real centre[WIDTH];
#pragma unroll
        for (int k = 0; k < WIDTH; k++) centre[k] = mean[channel + k];
#pragma unroll 2
        for (int i = 0; i < own_rows.count; i++) {
            long long at = own_rows.row(i) * channels + channel;
            Pack<WIDTH> arrived = load_pack<WIDTH>(grad + at), value = load_pack<WIDTH>(x + at);
            Pack<WIDTH> output = load_pack<WIDTH>(y + at);
#pragma unroll
            for (int k = 0; k < WIDTH; k++) {
                real d = leaky_grad(arrived[k], output[k], slope);
                own.d[k] += d;
                own.dc[k] += d * (value[k] - centre[k]);
            }
        }
    }
    own = column_sum(own, shared);
    if (threadIdx.y != 0 || channel >= channels) return;
    int plane = gridDim.y * channels;
    parts += blockIdx.y * channels + channel;
#pragma unroll
    for (int k = 0; k < WIDTH; k++) {
        parts[k] = own.d[k];
        parts[plane + k] = own.dc[k];
    }
}

extern "C" __global__ void batchnorm_gradient_sums(const storage* grad, const storage* x, const storage* y,
                                                   const real* mean, real* parts, real slope, int rows, int channels,
                                                   int width) {
    if (width == 4) gradient_sums<4>(grad, x, y, mean, parts, slope, rows, channels);
    else gradient_sums<1>(grad, x, y, mean, parts, slope, rows, channels);
}

// Adds the parts up, in blocks like those of batchnorm_join_moments.
extern "C" __global__ void batchnorm_parameter_grads(const real* parts, const real* variance, real* dgamma,
                                                     real* dbeta, Rule rule, int count, int channels) {
    __shared__ GradientSums<1> shared[512];
    int channel = blockIdx.x * blockDim.x + threadIdx.x, plane = count * channels;
    GradientSums<1> all = {};
    if (channel < channels)
        for (int part = threadIdx.y; part < count; part += blockDim.y) {
            const real* of_part = parts + part * channels + channel;
            all += GradientSums<1>{{of_part[0]}, {of_part[plane]}};
        }
    all = column_sum(all, shared);
    if (threadIdx.y != 0 || channel >= channels) return;
    dbeta[channel] = all.d[0];
    dgamma[channel] = all.dc[0] / divisor(variance[channel], rule);
}

// dx = scale * d - slope_of_x * c - offset, with numbers of the channel alone, which each thread computes once.
template <int WIDTH> __device__ void input_grad(const storage* grad, const storage* x, const storage* y, storage* dx,
                                                const real* gamma, const real* mean, const real* variance,
                                                const real* dgamma, const real* dbeta, const Rule& rule,
                                                bool training, real slope, int rows, int channels) {
    int channel = (blockIdx.x * blockDim.x + threadIdx.x) * WIDTH;
    if (channel >= channels) return;
    OwnRows own_rows(rows);
    real centre[WIDTH], scale[WIDTH], slope_of_x[WIDTH], offset[WIDTH];
#pragma unroll
    for (int k = 0; k < WIDTH; k++) {
        int c = channel + k;
        real forward_divisor = divisor(variance[c], rule);
        real inner = variance[c] * rule.variance_factor + rule.backward_epsilon;  // s^2
        centre[k] = mean[c];
        scale[k] = gamma[c] / (training ? sqrt(inner) : forward_divisor);
        slope_of_x[k] = training ? scale[k] * dgamma[c] * forward_divisor / (inner * rows) : 0;
        offset[k] = training ? scale[k] * dbeta[c] / rows : 0;
    }
#pragma unroll 2
    for (int i = 0; i < own_rows.count; i++) {
        long long at = (rows - 1 - own_rows.row(i)) * channels + channel;
        Pack<WIDTH> arrived = load_pack<WIDTH>(grad + at), value = load_pack<WIDTH>(x + at);
        Pack<WIDTH> output = load_pack<WIDTH>(y + at);
#pragma unroll
        for (int k = 0; k < WIDTH; k++) {
            real d = leaky_grad(arrived[k], output[k], slope);
            arrived[k] = scale[k] * d - slope_of_x[k] * (value[k] - centre[k]) - offset[k];
        }
        store_pack(dx + at, arrived);
    }
}

extern "C" __global__ void batchnorm_input_grad(const storage* __restrict__ grad, const storage* __restrict__ x,
                                                const storage* __restrict__ y, storage* __restrict__ dx,
                                                const real* gamma, const real* mean, const real* variance,
                                                const real* dgamma, const real* dbeta, Rule rule, bool training,
                                                real slope, int rows, int channels, int width) {
    if (width == 4)
        input_grad<4>(grad, x, y, dx, gamma, mean, variance, dgamma, dbeta, rule, training, slope, rows, channels);
    else
        input_grad<1>(grad, x, y, dx, gamma, mean, variance, dgamma, dbeta, rule, training, slope, rows, channels);
}
