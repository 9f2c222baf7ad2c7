// Which numbers meet in a convolution, one direction (down or right) at a time.
//
// The forward pass and the gradient of the input gather alike.  Forward, output q meets with kernel row t the input
//     q * stride - padding + t.
// Backward, input row i met kernel row u in output row (i + padding - u) / stride, if that is whole.  So the rows
// with the same remainder of (i + padding) / stride, a phase, met the same kernel rows: remainder + t * stride.  The
// q-th row of a phase meets with its t-th kernel row the output
//     start + q - t.
// Each of the stride_down * stride_right phases is a convolution of the gradient, and no product is spent on zeros.
#pragma once
#include "conv_shape.cuh"

struct Axis {
    int count, taps;             // results, and kernel rows that each of them meets
    int start, step, tap_step;   // result q and tap t meet source row start + q * step + t * tap_step
    int size;                    // rows of the source; beyond them are zeros
    int kernel_first, kernel_step;  // tap t is kernel row kernel_first + t * kernel_step
    int result_first, result_step;  // result q is row result_first + q * result_step of the map that is written
};

__device__ inline Axis forward_axis(int out_size, int kernel, int size, int stride, int padding) {
    return {out_size, kernel, -padding, stride, 1, size, 0, 1, 0, 1};
}

__device__ inline Axis phase_axis(int phase, int size, int kernel, int out_size, int stride, int padding) {
    int first = (phase + stride - padding % stride) % stride;  // the first row i with (i + padding) % stride == phase
    int count = first < size ? (size - 1 - first) / stride + 1 : 0;
    int taps = phase < kernel ? (kernel - 1 - phase) / stride + 1 : 0;
    return {count, taps, (first + padding - phase) / stride, 1, -1, out_size, phase, stride, first, stride};
}

// Both directions.
struct Gather {
    Axis down, right;
};

__device__ inline Gather forward_gather(const ConvShape& shape) {
    return {forward_axis(shape.out_height, shape.kernel_height, shape.height, shape.stride_down, shape.padding_down),
            forward_axis(shape.out_width, shape.kernel_width, shape.width, shape.stride_right, shape.padding_right)};
}

// phase: stride_right * (phase of the rows) + phase of the columns
__device__ inline Gather phase_gather(const ConvShape& shape, int phase) {
    return {phase_axis(phase / shape.stride_right, shape.height, shape.kernel_height, shape.out_height,
                       shape.stride_down, shape.padding_down),
            phase_axis(phase % shape.stride_right, shape.width, shape.kernel_width, shape.out_width,
                       shape.stride_right, shape.padding_right)};
}

// One result: which image, and which result of each axis.
struct Place {
    int image, down, right;
};

__device__ inline Place place_of(int index, const Gather& gather) {
    int row = index / gather.right.count;
    return {row / gather.down.count, row % gather.down.count, index % gather.right.count};
}

// `by` results further on, without a division.
__device__ inline void advance(Place& place, int by, const Gather& gather) {
    place.right += by;
    while (place.right >= gather.right.count) {
        place.right -= gather.right.count;
        if (++place.down == gather.down.count) {
            place.down = 0;
            ++place.image;
        }
    }
}

// The pixel in memory of a result, counted from the first of the batch; height and width are those of the map written.
__device__ inline int pixel_of(Place place, const Gather& gather, int height, int width) {
    int row = gather.down.result_first + place.down * gather.down.result_step;
    return (place.image * height + row) * width + gather.right.result_first + place.right * gather.right.result_step;
}

// One term of the sum: the tap of each axis and the channel; terms are counted with the channel running fastest.
struct Term {
    int down, right, channel;
};

__device__ inline Term term_of(int index, const Gather& gather, int channels) {
    int tap = index / channels;
    return {tap / gather.right.taps, tap % gather.right.taps, index % channels};
}

// `by` terms further on, without a division.
__device__ inline void advance(Term& term, int by, const Gather& gather, int channels) {
    term.channel += by;
    while (term.channel >= channels) {
        term.channel -= channels;
        if (++term.right == gather.right.taps) {
            term.right = 0;
            ++term.down;
        }
    }
}

// The pixel of the source that a result and a term meet, counted from the first of the batch; -1 where that is a zero.
__device__ inline int source_pixel(Place place, Term term, const Gather& gather) {
    int row = gather.down.start + place.down * gather.down.step + term.down * gather.down.tap_step;
    int column = gather.right.start + place.right * gather.right.step + term.right * gather.right.tap_step;
    bool inside = 0 <= row && row < gather.down.size && 0 <= column && column < gather.right.size;
    return inside ? (place.image * gather.down.size + row) * gather.right.size + column : -1;
}

// Where the weights of a term's kernel cell begin: (in_channels, out_channels) numbers.
__device__ inline long long kernel_cell(Term term, const Gather& gather, const ConvShape& shape) {
    int u = gather.down.kernel_first + term.down * gather.down.kernel_step;
    int v = gather.right.kernel_first + term.right * gather.right.kernel_step;
    return (long long)(u * shape.kernel_width + v) * shape.in_channels * shape.out_channels;
}
