// Leaky ReLU (spec 3.3, notes A1): y = x if x > 0 else slope * x.  One thread per pack of numbers.
//
// Bytes moved per number (float32; half of it for float16): 8 forwards, 12 backwards and for a sum of two maps.
#include "leaky.cuh"
#include "packs.cuh"

template <int WIDTH> __device__ void forward(const storage* x, storage* y, real slope) {
    Pack<WIDTH> numbers = load_pack<WIDTH>(x);
#pragma unroll
    for (int k = 0; k < WIDTH; k++) numbers[k] = leaky(numbers[k], slope);
    store_pack(y, numbers);
}

template <int WIDTH> __device__ void backward(const storage* grad, const storage* y, storage* dx, real slope) {
    Pack<WIDTH> arrived = load_pack<WIDTH>(grad), output = load_pack<WIDTH>(y);
#pragma unroll
    for (int k = 0; k < WIDTH; k++) arrived[k] = leaky_grad(arrived[k], output[k], slope);
    store_pack(dx, arrived);
}

template <int WIDTH> __device__ void add(const storage* a, const storage* b, storage* y, real slope) {
    Pack<WIDTH> sum = load_pack<WIDTH>(a), other = load_pack<WIDTH>(b);
#pragma unroll
    for (int k = 0; k < WIDTH; k++) sum[k] = leaky(sum[k] + other[k], slope);
    store_pack(y, sum);
}

// y = leaky(x)
extern "C" __global__ void leaky_relu(const storage* x, storage* y, real slope, int packs, int width) {
    int pack = blockIdx.x * blockDim.x + threadIdx.x;
    if (pack >= packs) return;  // the last block has threads to spare
    long long i = (long long)pack * width;
    if (width == 4) forward<4>(x + i, y + i, slope);
    else forward<1>(x + i, y + i, slope);
}

// dx = grad * (1 if y > 0 else slope)
extern "C" __global__ void leaky_relu_grad(const storage* grad, const storage* y, storage* dx, real slope, int packs,
                                           int width) {
    int pack = blockIdx.x * blockDim.x + threadIdx.x;
    if (pack >= packs) return;
    long long i = (long long)pack * width;
    if (width == 4) backward<4>(grad + i, y + i, dx + i, slope);
    else backward<1>(grad + i, y + i, dx + i, slope);
}

// y = leaky(a + b), of maps whose pixels lie a_pixel, b_pixel and y_pixel numbers apart: a shortcut (spec 3.6)
extern "C" __global__ void add_maps(const storage* a, const storage* b, storage* y, real slope, int channels,
                                    int a_pixel, int b_pixel, int y_pixel, int packs, int width) {
    int pack = blockIdx.x * blockDim.x + threadIdx.x;
    if (pack >= packs) return;
    int packs_of_pixel = channels / width;
    long long pixel = pack / packs_of_pixel;
    int channel = pack % packs_of_pixel * width;
    a += pixel * a_pixel + channel;
    b += pixel * b_pixel + channel;
    y += pixel * y_pixel + channel;
    if (width == 4) add<4>(a, b, y, slope);
    else add<1>(a, b, y, slope);
}
