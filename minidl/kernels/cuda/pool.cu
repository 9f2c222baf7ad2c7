// Pooling: the largest number of each window (spec 3.4, notes B4), and the mean of a whole map (spec 3.8, notes B2).
//
// Bytes moved per number (float32), where windows overlap little: max 4 in, 4 / stride^2 out; its gradient 4 in, 4 out
// and 8 / stride^2 (y and its gradient).  What several windows read is read again from the caches.
#include "packs.cuh"
#include "reduce.cuh"

// Windows of size x size, `stride` apart, the first of which begins `offset` rows and columns before the image.
struct Windows {
    int height, width, channels, out_height, out_width;
    int size, stride, offset;
    int x_pixel, y_pixel;  // numbers from one pixel to the next
};

// The rows (or columns) of the image that window i covers, from first to last.
struct Range {
    int first, last;
};

__device__ inline Range covered(int i, const Windows& windows, int image_size) {
    int start = i * windows.stride - windows.offset;
    return {max(start, 0), min(start + windows.size, image_size) - 1};
}

// The windows that cover a row (or column), from first to last: those with 0 <= row + offset - i * stride < size.
__device__ inline Range covering(int row, const Windows& windows, int out_size) {
    int from_start = row + windows.offset;
    int beyond = from_start - windows.size;  // the windows that start here or before have ended
    return {beyond < 0 ? 0 : beyond / windows.stride + 1, min(from_start / windows.stride, out_size - 1)};
}

// NaN counts as larger than every number, so that it shows.
__device__ inline bool is_nan(real value) { return value != value; }
__device__ inline bool equal(real a, real b) { return a == b || (is_nan(a) && is_nan(b)); }

template <int WIDTH> __device__ void largest(const storage* x, storage* y, const Windows& windows, int index) {
    Place place = place_of<WIDTH>(index, windows.out_height, windows.out_width, windows.channels);
    Range rows = covered(place.row, windows, windows.height), columns = covered(place.column, windows, windows.width);
    x += place.channel;
    // Every window holds a pixel of the image, so that the search can begin with one.
    long long begin = pixel_at(place.image, rows.first, columns.first, windows.height, windows.width);
    Pack<WIDTH> best = load_pack<WIDTH>(x + begin * windows.x_pixel);
    for (int row = rows.first; row <= rows.last; row++)
        for (int column = columns.first; column <= columns.last; column++) {
            long long pixel = pixel_at(place.image, row, column, windows.height, windows.width);
            Pack<WIDTH> seen = load_pack<WIDTH>(x + pixel * windows.x_pixel);
#pragma unroll
            for (int k = 0; k < WIDTH; k++)
                if (seen[k] > best[k] || is_nan(seen[k])) best[k] = seen[k];
        }
    long long pixel = pixel_at(place.image, place.row, place.column, windows.out_height, windows.out_width);
    store_pack(y + pixel * windows.y_pixel + place.channel, best);
}

// Whether no pixel of window (i, j) before (row, column) equals `value`: of equal ones the first wins.
__device__ inline bool first_in_window(const storage* x, real value, int image, int row, int column, int i, int j,
                                       const Windows& windows) {
    Range rows = covered(i, windows, windows.height), columns = covered(j, windows, windows.width);
    for (int r = rows.first; r <= row; r++)
        for (int c = columns.first; c <= (r < row ? columns.last : column - 1); c++) {
            long long pixel = pixel_at(image, r, c, windows.height, windows.width);
            if (equal(x[pixel * windows.channels], value)) return false;
        }
    return true;
}

// Each input number looks at the windows that cover it, and adds up the gradients of those that it won.
template <int WIDTH> __device__ void largest_grad(const storage* grad, const storage* x, const storage* y,
                                                  storage* dx, const Windows& windows, int index) {
    Place place = place_of<WIDTH>(index, windows.height, windows.width, windows.channels);
    Range down = covering(place.row, windows, windows.out_height);
    Range right = covering(place.column, windows, windows.out_width);
    Pack<WIDTH> own = load_pack<WIDTH>(x + (long long)index * WIDTH), sum = {};
    for (int i = down.first; i <= down.last; i++)
        for (int j = right.first; j <= right.last; j++) {
            long long window = pixel_at(place.image, i, j, windows.out_height, windows.out_width);
            long long at = window * windows.channels + place.channel;
            Pack<WIDTH> best = load_pack<WIDTH>(y + at), arrived = load_pack<WIDTH>(grad + at);
#pragma unroll
            for (int k = 0; k < WIDTH; k++)
                if (equal(own[k], best[k]) && first_in_window(x + place.channel + k, own[k], place.image, place.row,
                                                              place.column, i, j, windows))
                    sum[k] += arrived[k];
        }
    store_pack(dx + (long long)index * WIDTH, sum);
}

extern "C" __global__ void maxpool2d(const storage* x, storage* y, Windows windows, int packs, int width) {
    int index = blockIdx.x * blockDim.x + threadIdx.x;
    if (index >= packs) return;
    if (width == 4) largest<4>(x, y, windows, index);
    else largest<1>(x, y, windows, index);
}

extern "C" __global__ void maxpool2d_grad(const storage* grad, const storage* x, const storage* y, storage* dx,
                                          Windows windows, int packs, int width) {
    int index = blockIdx.x * blockDim.x + threadIdx.x;
    if (index >= packs) return;
    if (width == 4) largest_grad<4>(grad, x, y, dx, windows, index);
    else largest_grad<1>(grad, x, y, dx, windows, index);
}

// y[image, channel] = mean over the pixels: a block per image and blockDim.x channels, whose rows of threads share the
// pixels; at most 256 threads
extern "C" __global__ void global_average_pool(const storage* x, storage* y, int pixels, int channels) {
    __shared__ real shared[256];
    int channel = blockIdx.x * blockDim.x + threadIdx.x, image = blockIdx.y;
    x += (long long)image * pixels * channels + channel;
    real sum = 0;
    if (channel < channels)
        for (int pixel = threadIdx.y; pixel < pixels; pixel += blockDim.y) sum += real(x[(long long)pixel * channels]);
    sum = column_sum(sum, shared);
    if (threadIdx.y == 0 && channel < channels) y[(long long)image * channels + channel] = sum / pixels;
}

// dx[image, pixel, channel] = grad[image, channel] / pixels
extern "C" __global__ void global_average_pool_grad(const storage* grad, storage* dx, int pixels, int channels,
                                                    int packs, int width) {
    int index = blockIdx.x * blockDim.x + threadIdx.x;
    if (index >= packs) return;
    int packs_of_pixel = channels / width;
    long long image = index / packs_of_pixel / pixels;
    grad += image * channels + index % packs_of_pixel * width;
    dx += (long long)index * width;
    for (int k = 0; k < width; k++) dx[k] = real(grad[k]) / pixels;
}
