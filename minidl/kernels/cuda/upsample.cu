// Upsampling by a whole factor, nearest (spec 3.5, notes E4) and bilinear, forwards and backwards.
//
// One thread per pack of the map that is written, which collects all that it needs: nobody else writes there.
// The larger map has factor^2 times as many numbers, and each is moved once: per number of the smaller map
// 4 + 4 * factor^2 bytes (float32; what bilinear reads more than once is in the caches).
#include "packs.cuh"

// y[i, j] = x[i / factor, j / factor]; width and height are those of x; y's pixels lie y_pixel numbers apart
template <int WIDTH> __device__ void nearest(const storage* x, storage* y, int height, int width, int channels,
                                             int factor, int x_pixel, int y_pixel, int index) {
    Place place = place_of<WIDTH>(index, height * factor, width * factor, channels);
    long long from = pixel_at(place.image, place.row / factor, place.column / factor, height, width);
    long long to = pixel_at(place.image, place.row, place.column, height * factor, width * factor);
    store_pack(y + to * y_pixel + place.channel, load_pack<WIDTH>(x + from * x_pixel + place.channel));
}

// dx[i, j] = sum of the factor x factor gradients of the outputs that copied it
template <int WIDTH> __device__ void nearest_grad(const storage* grad, storage* dx, int height, int width,
                                                  int channels, int factor, int index) {
    Place place = place_of<WIDTH>(index, height, width, channels);
    Pack<WIDTH> sum = {};
    for (int down = 0; down < factor; down++)
        for (int right = 0; right < factor; right++) {
            long long pixel = pixel_at(place.image, place.row * factor + down, place.column * factor + right,
                                       height * factor, width * factor);
            Pack<WIDTH> arrived = load_pack<WIDTH>(grad + pixel * channels + place.channel);
#pragma unroll
            for (int k = 0; k < WIDTH; k++) sum[k] += arrived[k];
        }
    store_pack(dx + (long long)index * WIDTH, sum);
}

// Along one axis: an output position lies between two inputs, `lower` and `upper`, and mixes them by nearness.
struct Between {
    int lower, upper;
    real weight;  // of upper; lower has the rest
};

// Output i lies at input position (i + 0.5) / factor - 0.5 = (2 i + 1 - factor) / (2 factor), moved inside the image.
__device__ inline Between between(int i, int size, int factor) {
    int steps = min(max(2 * i + 1 - factor, 0), 2 * factor * (size - 1));  // of 1 / (2 factor): exact
    int lower = steps / (2 * factor);
    return {lower, min(lower + 1, size - 1), real(steps % (2 * factor)) / (2 * factor)};
}

// With which weight output i took from one input.
__device__ inline real weight_of(int input, int i, int size, int factor) {
    Between place = between(i, size, factor);
    return (input == place.lower ? 1 - place.weight : 0) + (input == place.upper ? place.weight : 0);
}

template <int WIDTH> __device__ void bilinear(const storage* x, storage* y, int height, int width, int channels,
                                              int factor, int index) {
    Place place = place_of<WIDTH>(index, height * factor, width * factor, channels);
    Between down = between(place.row, height, factor), right = between(place.column, width, factor);
    Pack<WIDTH> sum = {};
#pragma unroll
    for (int corner = 0; corner < 4; corner++) {
        bool below = corner / 2, after = corner % 2;
        real weight = (below ? down.weight : 1 - down.weight) * (after ? right.weight : 1 - right.weight);
        long long pixel = pixel_at(place.image, below ? down.upper : down.lower, after ? right.upper : right.lower,
                                   height, width);
        Pack<WIDTH> seen = load_pack<WIDTH>(x + pixel * channels + place.channel);
#pragma unroll
        for (int k = 0; k < WIDTH; k++) sum[k] += weight * seen[k];
    }
    store_pack(y + (long long)index * WIDTH, sum);
}

// The interpolation is linear: every output hands back its gradient by the weights with which it took.  Only outputs
// less than one input pixel away have taken anything, those from factor before the input's own square to factor after.
template <int WIDTH> __device__ void bilinear_grad(const storage* grad, storage* dx, int height, int width,
                                                   int channels, int factor, int index) {
    Place place = place_of<WIDTH>(index, height, width, channels);
    int out_height = height * factor, out_width = width * factor;
    Pack<WIDTH> sum = {};
    for (int i = max((place.row - 1) * factor, 0); i < min((place.row + 2) * factor, out_height); i++) {
        real of_row = weight_of(place.row, i, height, factor);
        if (of_row == 0) continue;
        for (int j = max((place.column - 1) * factor, 0); j < min((place.column + 2) * factor, out_width); j++) {
            real weight = of_row * weight_of(place.column, j, width, factor);
            if (weight == 0) continue;
            long long pixel = pixel_at(place.image, i, j, out_height, out_width);
            Pack<WIDTH> arrived = load_pack<WIDTH>(grad + pixel * channels + place.channel);
#pragma unroll
            for (int k = 0; k < WIDTH; k++) sum[k] += weight * arrived[k];
        }
    }
    store_pack(dx + (long long)index * WIDTH, sum);
}

// The kernels: height, width are those of the smaller map, on either side.
extern "C" __global__ void upsample_nearest(const storage* x, storage* y, int height, int width, int channels,
                                            int factor, int x_pixel, int y_pixel, int packs, int pack_width) {
    int index = blockIdx.x * blockDim.x + threadIdx.x;
    if (index >= packs) return;
    if (pack_width == 4) nearest<4>(x, y, height, width, channels, factor, x_pixel, y_pixel, index);
    else nearest<1>(x, y, height, width, channels, factor, x_pixel, y_pixel, index);
}

extern "C" __global__ void upsample_nearest_grad(const storage* grad, storage* dx, int height, int width, int channels,
                                                 int factor, int packs, int pack_width) {
    int index = blockIdx.x * blockDim.x + threadIdx.x;
    if (index >= packs) return;
    if (pack_width == 4) nearest_grad<4>(grad, dx, height, width, channels, factor, index);
    else nearest_grad<1>(grad, dx, height, width, channels, factor, index);
}

extern "C" __global__ void upsample_bilinear(const storage* x, storage* y, int height, int width, int channels,
                                             int factor, int packs, int pack_width) {
    int index = blockIdx.x * blockDim.x + threadIdx.x;
    if (index >= packs) return;
    if (pack_width == 4) bilinear<4>(x, y, height, width, channels, factor, index);
    else bilinear<1>(x, y, height, width, channels, factor, index);
}

extern "C" __global__ void upsample_bilinear_grad(const storage* grad, storage* dx, int height, int width,
                                                  int channels, int factor, int packs, int pack_width) {
    int index = blockIdx.x * blockDim.x + threadIdx.x;
    if (index >= packs) return;
    if (pack_width == 4) bilinear_grad<4>(grad, dx, height, width, channels, factor, index);
    else bilinear_grad<1>(grad, dx, height, width, channels, factor, index);
}
