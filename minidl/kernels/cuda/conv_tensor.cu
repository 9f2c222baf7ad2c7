// Convolution on tensor cores, in TF32 (float maps) or half precision, with sums in float.  The same three products as
// in conv_plain.cu:
//
//                                        left factor        right factor    result
//     conv_tensor_forward                Windows of x       Matrix weight   pixels of y x its channels
//     conv_tensor_grad_input             Windows of grad    WeightTurned    pixels of dx, a phase of them, x channels
//     conv_tensor_grad_weight            WindowsTurned      Matrix grad     numbers of a window x channels of y
//
// conv_tensor_product.cuh multiplies, conv_tensor_factors.cuh brings the factors.  Channels are multiples of CHUNK, all
// maps begin at multiples of 16 bytes, and a kernel has at most 32 taps (conv_tensor.py: fits).
#if NUMBER_BITS == 64
#error "tensor cores multiply TF32 and half precision here, not double"
#endif
#include "conv_tensor_factors.cuh"

// Shared memory of the size that the launch asked for: what a kernel declares itself is limited to 48 KB.
template <class Shared> __device__ inline Shared& launched_shared_memory() {
    extern __shared__ real4 memory[];
    return *reinterpret_cast<Shared*>(memory);
}

// Rows: pixels of y.  Columns: its channels.  Blocks: (tiles of pixels, tiles of channels, parts of the sum).
// With more than one part the sums go to parts (part_count, pixels, out_channels), and finish_parts completes them.
template <int ROWS, int COLUMNS>
__device__ void forward(const storage* x, const storage* weight, const real* bias, const storage* residual, storage* y,
                        real* parts, const ConvShape& shape, const Epilogue& epilogue) {
    auto& shared = launched_shared_memory<SharedMemory<ROWS, COLUMNS, Windows<ROWS>, Matrix<COLUMNS>>>();
    Gather gather = forward_gather(shape);
    int pixels = shape.batch * shape.out_height * shape.out_width, channels = shape.out_channels;
    int terms = shape.kernel_height * shape.kernel_width * shape.in_channels;
    Part part = own_part(terms);
    Windows<ROWS> windows(x, gather, shape.in_channels, shape.in_pixel, pixels, part.first * TERMS);
    Matrix<COLUMNS> weights(weight, terms, channels, channels, part.first * TERMS);
    auto results = product(shared, windows, weights, part.count);
    results.hand_out(shared.tile, [&](int row, int column, real4 four) {
        int pixel = blockIdx.x * ROWS + row, channel = blockIdx.y * COLUMNS + column;
        if (pixel >= pixels || channel >= channels) return;
        if (parts) {
            write4(parts + (blockIdx.z * (long long)pixels + pixel) * channels + channel, four);
            return;
        }
        real4 beside = {};
        if (residual) beside = read4(residual + pixel * (long long)shape.residual_pixel + channel);
        for (int i = 0; i < 4; ++i) four[i] = finish(four[i], bias ? bias[channel + i] : 0, beside[i], epilogue);
        write4(y + pixel * (long long)shape.out_pixel + channel, four);
    });
}

// Rows: pixels of dx, one phase of them (conv_gather.cuh).  Columns: its channels.
// Blocks: (tiles of pixels, tiles of channels, phases).
template <int ROWS, int COLUMNS>
__device__ void grad_input(const storage* grad, const storage* weight, storage* dx, const ConvShape& shape) {
    auto& shared = launched_shared_memory<SharedMemory<ROWS, COLUMNS, Windows<ROWS>, WeightTurned<COLUMNS>>>();
    Gather gather = phase_gather(shape, blockIdx.z);
    int pixels = shape.batch * gather.down.count * gather.right.count, channels = shape.in_channels;
    if (blockIdx.x * ROWS >= pixels) return;  // this phase has fewer pixels than others; true for the whole block
    int terms = gather.down.taps * gather.right.taps * shape.out_channels;
    Results<ROWS, COLUMNS> results = {};  // zeros stay where no window reaches these pixels
    if (terms > 0) {
        Windows<ROWS> windows(grad, gather, shape.out_channels, shape.out_pixel, pixels, 0);
        WeightTurned<COLUMNS> weights(weight, gather, shape);
        results = product(shared, windows, weights, (terms + TERMS - 1) / TERMS);
    }
    results.hand_out(shared.tile, [&](int row, int column, const real4& four) {
        row += blockIdx.x * ROWS;
        int channel = blockIdx.y * COLUMNS + column;
        if (row >= pixels || channel >= channels) return;
        long long pixel = pixel_of(place_of(row, gather), gather, shape.height, shape.width);
        write4(dx + pixel * shape.in_pixel + channel, four);
    });
}

// Rows: terms (u, v, c) of the forward pass.  Columns: channels of y.
// Blocks: (tiles of terms, tiles of channels, parts of the pixels).
// sums: (parts, terms, out_channels), which sum_parts adds in order.
template <int ROWS, int COLUMNS>
__device__ void grad_weight(const storage* x, const storage* grad, real* sums, const ConvShape& shape) {
    auto& shared = launched_shared_memory<SharedMemory<ROWS, COLUMNS, WindowsTurned<ROWS>, Matrix<COLUMNS>>>();
    Gather gather = forward_gather(shape);
    int pixels = shape.batch * shape.out_height * shape.out_width, channels = shape.out_channels;
    int terms = shape.kernel_height * shape.kernel_width * shape.in_channels;
    Part part = own_part(pixels);
    WindowsTurned<ROWS> windows(x, gather, shape.in_channels, shape.in_pixel, pixels, part.first * TERMS);
    Matrix<COLUMNS> grads(grad, pixels, channels, shape.out_pixel, part.first * TERMS);
    auto results = product(shared, windows, grads, part.count);
    results.hand_out(shared.tile, [&](int row, int column, const real4& four) {
        int term = blockIdx.x * ROWS + row, channel = blockIdx.y * COLUMNS + column;
        if (term < terms && channel < channels)
            write4(sums + (blockIdx.z * (long long)terms + term) * channels + channel, four);
    });
}

// The kernels: one per product and tile.  The second number of __launch_bounds__ is how many blocks shall find room
// on a multiprocessor at once, which limits the registers of a thread to 65536 / (threads * blocks).
extern "C" __global__ void __launch_bounds__(THREADS, 2)
conv_tensor_forward_128x128(const storage* x, const storage* weight, const real* bias, const storage* residual,
                            storage* y, real* parts, ConvShape shape, Epilogue epilogue) {
    forward<128, 128>(x, weight, bias, residual, y, parts, shape, epilogue);
}

extern "C" __global__ void __launch_bounds__(THREADS, 3)
conv_tensor_forward_128x64(const storage* x, const storage* weight, const real* bias, const storage* residual,
                           storage* y, real* parts, ConvShape shape, Epilogue epilogue) {
    forward<128, 64>(x, weight, bias, residual, y, parts, shape, epilogue);
}

extern "C" __global__ void __launch_bounds__(THREADS, 4)
conv_tensor_forward_64x64(const storage* x, const storage* weight, const real* bias, const storage* residual,
                          storage* y, real* parts, ConvShape shape, Epilogue epilogue) {
    forward<64, 64>(x, weight, bias, residual, y, parts, shape, epilogue);
}

extern "C" __global__ void __launch_bounds__(THREADS, 2)
conv_tensor_grad_input_128x128(const storage* grad, const storage* weight, storage* dx, ConvShape shape) {
    grad_input<128, 128>(grad, weight, dx, shape);
}

extern "C" __global__ void __launch_bounds__(THREADS, 3)
conv_tensor_grad_input_128x64(const storage* grad, const storage* weight, storage* dx, ConvShape shape) {
    grad_input<128, 64>(grad, weight, dx, shape);
}

extern "C" __global__ void __launch_bounds__(THREADS, 4)
conv_tensor_grad_input_64x64(const storage* grad, const storage* weight, storage* dx, ConvShape shape) {
    grad_input<64, 64>(grad, weight, dx, shape);
}

extern "C" __global__ void __launch_bounds__(THREADS, 2)
conv_tensor_grad_weight_128x128(const storage* x, const storage* grad, real* sums, ConvShape shape) {
    grad_weight<128, 128>(x, grad, sums, shape);
}

extern "C" __global__ void __launch_bounds__(THREADS, 3)
conv_tensor_grad_weight_128x64(const storage* x, const storage* grad, real* sums, ConvShape shape) {
    grad_weight<128, 64>(x, grad, sums, shape);
}

extern "C" __global__ void __launch_bounds__(THREADS, 4)
conv_tensor_grad_weight_64x64(const storage* x, const storage* grad, real* sums, ConvShape shape) {
    grad_weight<64, 64>(x, grad, sums, shape);
}
