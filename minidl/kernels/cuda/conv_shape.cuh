// The sizes of a convolution, as the kernels get them, and what happens to a sum before it is written.
#pragma once
#include "leaky.cuh"

// y[n, i, j, o] = sum over u, v, c of x[n, i * stride_down + u - padding_down, j * stride_right + v - padding_right, c]
//                                     * weight[u, v, c, o]
// Channels last.  The distance from one pixel to the next may be larger than its channels: then the map is a slice of
// the channels of a larger one, such as one half of a concatenation.
struct ConvShape {
    int batch, height, width, in_channels;
    int out_height, out_width, out_channels;
    int kernel_height, kernel_width;
    int stride_down, stride_right, padding_down, padding_right;
    int in_pixel, out_pixel, residual_pixel;  // numbers from one pixel to the next, in x, in y and in the residual
};

// What follows a convolution while its sums are in registers (spec 3.1, 3.3, 3.6):
//     leaky(leaky(sum + bias, slope) + residual, final_slope);  a null pointer leaves its part out, slope 1 too.
struct Epilogue {
    real slope, final_slope;
};

__device__ inline real finish(real sum, real bias, real residual, const Epilogue& epilogue) {
    return leaky(leaky(sum + bias, epilogue.slope) + residual, epilogue.final_slope);
}

__device__ inline real finish(real sum, int pixel, int channel, const real* bias, const storage* residual,
                              const ConvShape& shape, const Epilogue& epilogue) {
    real beside = residual ? real(residual[(long long)pixel * shape.residual_pixel + channel]) : real(0);
    return finish(sum, bias ? bias[channel] : real(0), beside, epilogue);
}
