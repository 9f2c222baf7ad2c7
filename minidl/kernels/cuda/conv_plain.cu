// Convolution as a matrix product with tiles in shared memory: the lesson to begin with.
//
//     forward              y[pixel, o]    = sum over terms (u, v, c) of  window[pixel, term] * weight[term, o]
//     gradient of weight   dw[term, o]    = sum over pixels          of  window[pixel, term] * grad[pixel, o]
//     gradient of input    dx[pixel, c]   = sum over terms (u, v, o) of  window[pixel, term] * weight[u, v, c, o]
//                                           (here the windows are of the gradient of y: conv_gather.cuh)
//
// "Implicit" product (Chetlur et al. 2014, cuDNN): no window matrix is ever written; each number of it is looked up in
// the image when a tile needs it.
//
// A product of two matrices reads every number many times.  So a block of 16 x 16 threads computes a tile of 16 x 16
// results: for 16 terms at a time each thread brings one number of the left and one of the right factor into shared
// memory, which is near the arithmetic, and all of them use all of those: each number from main memory serves 16 times.
#include "conv_gather.cuh"

constexpr int TILE = 16;

// The number of a map at a pixel and a channel, or of a matrix at a row and a column; 0 where there is none.
__device__ inline real number_at(const storage* map, int pixel, int distance, int channel, bool exists) {
    return exists ? real(map[pixel * (long long)distance + channel]) : real(0);
}

// Adds the sum over k of left[k of this thread's row] * right[k of its column], for one tile.  Two barriers: nobody may
// multiply before all numbers have arrived, nobody may overwrite them before all have multiplied.
__device__ inline void add_tile(const real (&left)[TILE][TILE + 1], const real (&right)[TILE][TILE + 1], real& sum) {
    __syncthreads();
    for (int k = 0; k < TILE; ++k) sum += left[threadIdx.y][k] * right[k][threadIdx.x];
    __syncthreads();
}

// Rows: pixels of y.  Columns: its channels.  Blocks: (tiles of pixels, tiles of channels).
extern "C" __global__ void __launch_bounds__(256)
conv_plain_forward(const storage* x, const storage* weight, const real* bias, const storage* residual, storage* y,
                   ConvShape shape, Epilogue epilogue) {
    // One column more than needed: rows then begin in different banks of the shared memory.
    __shared__ real windows[TILE][TILE + 1], weights[TILE][TILE + 1];
    Gather gather = forward_gather(shape);
    int pixels = shape.batch * shape.out_height * shape.out_width;
    int terms = shape.kernel_height * shape.kernel_width * shape.in_channels;
    int pixel = blockIdx.x * TILE + threadIdx.y, channel = blockIdx.y * TILE + threadIdx.x;
    Place place = place_of(pixel, gather);
    real sum = 0;
    for (int first = 0; first < terms; first += TILE) {
        int across = first + threadIdx.x, along = first + threadIdx.y;  // the terms that this thread brings
        Term term = term_of(across, gather, shape.in_channels);
        int source = pixel < pixels && across < terms ? source_pixel(place, term, gather) : -1;
        windows[threadIdx.y][threadIdx.x] = number_at(x, source, shape.in_pixel, term.channel, source >= 0);
        weights[threadIdx.y][threadIdx.x] = number_at(weight, along, shape.out_channels, channel,
                                                      along < terms && channel < shape.out_channels);
        add_tile(windows, weights, sum);
    }
    if (pixel < pixels && channel < shape.out_channels)
        y[pixel * (long long)shape.out_pixel + channel] = finish(sum, pixel, channel, bias, residual, shape, epilogue);
}

// Rows: pixels of dx, one phase of them (conv_gather.cuh).  Columns: its channels.
// Blocks: (tiles of pixels, tiles of channels, phases).
extern "C" __global__ void __launch_bounds__(256)
conv_plain_grad_input(const storage* grad, const storage* weight, storage* dx, ConvShape shape) {
    __shared__ real windows[TILE][TILE + 1], weights[TILE][TILE + 1];
    Gather gather = phase_gather(shape, blockIdx.z);
    int pixels = shape.batch * gather.down.count * gather.right.count;
    if (blockIdx.x * TILE >= pixels) return;  // this phase has fewer pixels than others; true for the whole block
    int terms = gather.down.taps * gather.right.taps * shape.out_channels;
    int pixel = blockIdx.x * TILE + threadIdx.y, channel = blockIdx.y * TILE + threadIdx.x;
    Place place = place_of(pixel, gather);
    real sum = 0;  // stays 0 where no window reaches these pixels
    for (int first = 0; first < terms; first += TILE) {
        int across = first + threadIdx.x;
        Term term = term_of(across, gather, shape.out_channels);
        int source = pixel < pixels && across < terms ? source_pixel(place, term, gather) : -1;
        windows[threadIdx.y][threadIdx.x] = number_at(grad, source, shape.out_pixel, term.channel, source >= 0);
        // Weights of one channel of dx lie in memory in the order of the terms, so neighbouring threads bring
        // neighbouring terms, and the tile is turned round on its way into shared memory.
        int own = blockIdx.y * TILE + threadIdx.y;
        const storage* cell = weight + kernel_cell(term, gather, shape);
        weights[threadIdx.x][threadIdx.y] = number_at(cell, own, shape.out_channels, term.channel,
                                                      across < terms && own < shape.in_channels);
        add_tile(windows, weights, sum);
    }
    if (pixel < pixels && channel < shape.in_channels)
        dx[pixel_of(place, gather, shape.height, shape.width) * (long long)shape.in_pixel + channel] = sum;
}

// Rows: terms (u, v, c).  Columns: channels of y.  Blocks: (tiles of terms, tiles of channels, parts): the pixels are
// many and the results few, so the sum is split into parts, which another kernel adds in order (conv_parts.cu).
// sums: (parts, terms, out_channels)
extern "C" __global__ void __launch_bounds__(256)
conv_plain_grad_weight(const storage* x, const storage* grad, real* sums, ConvShape shape) {
    __shared__ real windows[TILE][TILE + 1], grads[TILE][TILE + 1];
    Gather gather = forward_gather(shape);
    int pixels = shape.batch * shape.out_height * shape.out_width;
    int terms = shape.kernel_height * shape.kernel_width * shape.in_channels;
    int row = blockIdx.x * TILE + threadIdx.y, channel = blockIdx.y * TILE + threadIdx.x;
    int brought = blockIdx.x * TILE + threadIdx.x;  // windows lie in memory in the order of the terms: as above
    Term term = term_of(brought, gather, shape.in_channels);
    int tiles = (pixels + TILE - 1) / TILE;
    int last = TILE * (int)(tiles * (blockIdx.z + 1LL) / gridDim.z);
    real sum = 0;
    for (int first = TILE * (int)(tiles * (long long)blockIdx.z / gridDim.z); first < last; first += TILE) {
        int pixel = first + threadIdx.y;
        int source = pixel < pixels && brought < terms ? source_pixel(place_of(pixel, gather), term, gather) : -1;
        windows[threadIdx.x][threadIdx.y] = number_at(x, source, shape.in_pixel, term.channel, source >= 0);
        grads[threadIdx.y][threadIdx.x] = number_at(grad, pixel, shape.out_pixel, channel,
                                                    pixel < pixels && channel < shape.out_channels);
        add_tile(windows, grads, sum);
    }
    if (row < terms && channel < shape.out_channels)
        sums[((long long)blockIdx.z * terms + row) * shape.out_channels + channel] = sum;
}
