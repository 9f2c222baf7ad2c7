// Convolution as a matrix product with blocks of results in registers.  The same three products as in conv_plain.cu.
//
// There each multiplication waits for two numbers from shared memory, which delivers far fewer than the arithmetic
// could use.  Here a thread computes 8 x 8 results: 8 + 8 numbers serve 64 multiplications.  Three more steps make the
// rest fast enough:
//   - four neighbours are read by one instruction, from main memory and from shared memory;
//   - while a tile is multiplied, the numbers of the next one are on their way from main memory into registers;
//   - there are two tiles in shared memory, so that the next one is stored without waiting for slower threads to finish
//     with this one: one barrier per tile and not two.
//
// (Volkov and Demmel 2008, "Benchmarking GPUs to tune dense linear algebra": results belong into registers, of which a
// multiprocessor has more than it has shared memory.)
//
// A block of 2 * TILE threads computes TILE x TILE results, 8 terms at a time: 8 * TILE numbers of each factor, four
// per thread.  TILE is 128 (8 x 8 results per thread) or, for small products, 64 (8 x 4).
#include "conv_gather.cuh"

constexpr int STEP = 8;  // terms at a time

// A factor brings four numbers per step.  Which neighbours lie side by side in memory differs:
//     ALONG_TERMS   four terms of one row (or column) of the product
//     ALONG_LINES   four rows (or columns) at one term
enum Direction { ALONG_TERMS, ALONG_LINES };

// Whether four channels can be read or written at once: all addresses are then multiples of their size.
template <class Number> __device__ inline bool in_fours(const Number* map, int channels, int pixel_distance) {
    return channels % 4 == 0 && pixel_distance % 4 == 0 && (unsigned long long)map % alignof(Four<Number>) == 0;
}

// Left factor of the forward pass and of the gradient of the input: windows of a map, a row of the product each.
struct Windows {
    static constexpr Direction DIRECTION = ALONG_TERMS;
    const storage* map;
    const Gather& gather;
    int channels, pixel_distance;
    bool fours;
    bool exists;  // the row
    Place place;
    Term term;

    // Thread t brings terms 4 * (t % 2) .. + 3 of row t / 2 of the tile.
    __device__ Windows(const storage* map, const Gather& gather, int channels, int pixel_distance, int rows, int first)
        : map(map), gather(gather), channels(channels), pixel_distance(pixel_distance),
          fours(in_fours(map, channels, pixel_distance)) {
        int row = blockIdx.x * blockDim.x / 2 + threadIdx.x / 2;
        exists = row < rows;
        place = place_of(row, gather);
        term = term_of(first + threadIdx.x % 2 * 4, gather, channels);
    }
    __device__ const storage* find(Term at) const {
        int source = exists && at.down < gather.down.taps ? source_pixel(place, at, gather) : -1;
        return source < 0 ? nullptr : map + source * (long long)pixel_distance + at.channel;
    }
    __device__ real4 next() {
        real4 numbers = {};
        Term at = term;
        if (fours) {
            if (const storage* from = find(at)) numbers = read4(from);
        } else {
            for (int i = 0; i < 4; ++i, advance(at, 1, gather, channels))
                if (const storage* from = find(at)) numbers[i] = *from;
        }
        advance(term, STEP, gather, channels);
        return numbers;
    }
};

// Left factor of the gradient of the weight: the same windows, but a term is a row of the product, and the sum runs
// over the pixels.
struct WindowsTurned {
    static constexpr Direction DIRECTION = ALONG_LINES;
    const storage* map;
    const Gather& gather;
    int channels, pixel_distance;
    bool fours;
    int batch;
    Place place;
    Term term;

    // Thread t brings rows 4 * (t % (TILE / 4)) .. + 3 of the pixel t / (TILE / 4) of the step.
    __device__ WindowsTurned(const storage* map, const Gather& gather, const ConvShape& shape, int first)
        : map(map), gather(gather), channels(shape.in_channels), pixel_distance(shape.in_pixel),
          fours(in_fours(map, channels, pixel_distance)), batch(shape.batch) {
        int across = blockDim.x / 8;  // TILE / 4
        term = term_of(blockIdx.x * blockDim.x / 2 + threadIdx.x % across * 4, gather, channels);
        place = place_of(first + threadIdx.x / across, gather);
    }
    __device__ const storage* find(Term at) const {
        int source = place.image < batch && at.down < gather.down.taps ? source_pixel(place, at, gather) : -1;
        return source < 0 ? nullptr : map + source * (long long)pixel_distance + at.channel;
    }
    __device__ real4 next() {
        real4 numbers = {};
        Term at = term;
        if (fours) {
            if (const storage* from = find(at)) numbers = read4(from);
        } else {
            for (int i = 0; i < 4; ++i, advance(at, 1, gather, channels))
                if (const storage* from = find(at)) numbers[i] = *from;
        }
        advance(place, STEP, gather);
        return numbers;
    }
};

// Right factor that lies in memory as a matrix (rows, columns): the weight, or the gradient of y.
struct Matrix {
    static constexpr Direction DIRECTION = ALONG_LINES;
    const storage* from;
    int row, rows, distance;
    int left;  // how many columns there are from this thread's first one on
    bool fours;

    // Thread t brings columns 4 * (t % (TILE / 4)) .. + 3 of row t / (TILE / 4) of the step.
    __device__ Matrix(const storage* matrix, int rows, int columns, int distance, int first)
        : rows(rows), distance(distance), fours(in_fours(matrix, columns, distance)) {
        int across = blockDim.x / 8;
        int column = blockIdx.y * blockDim.x / 2 + threadIdx.x % across * 4;
        row = first + threadIdx.x / across;
        left = columns - column;
        from = matrix + row * (long long)distance + column;
    }
    __device__ real4 next() {
        real4 numbers = {};
        if (row < rows) {
            if (fours) {
                if (left > 0) numbers = read4(from);
            } else {
                for (int i = 0; i < 4; ++i)
                    if (i < left) numbers[i] = from[i];
            }
        }
        row += STEP;
        from += STEP * (long long)distance;
        return numbers;
    }
};

// Right factor of the gradient of the input: weights[u, v, c, o] with terms (u, v, o) and a column for each c.
struct WeightTurned {
    static constexpr Direction DIRECTION = ALONG_TERMS;
    const storage* weight;
    const Gather& gather;
    const ConvShape& shape;
    bool fours;
    int column;
    Term term;

    // Thread t brings terms 4 * (t % 2) .. + 3 of column t / 2 of the tile.
    __device__ WeightTurned(const storage* weight, const Gather& gather, const ConvShape& shape)
        : weight(weight), gather(gather), shape(shape), fours(in_fours(weight, shape.out_channels, 0)) {
        column = blockIdx.y * blockDim.x / 2 + threadIdx.x / 2;
        term = term_of(threadIdx.x % 2 * 4, gather, shape.out_channels);
    }
    __device__ const storage* find(Term at) const {
        if (column >= shape.in_channels || at.down >= gather.down.taps) return nullptr;
        return weight + kernel_cell(at, gather, shape) + column * (long long)shape.out_channels + at.channel;
    }
    __device__ real4 next() {
        real4 numbers = {};
        Term at = term;
        if (fours) {
            if (const storage* from = find(at)) numbers = read4(from);
        } else {
            for (int i = 0; i < 4; ++i, advance(at, 1, gather, shape.out_channels))
                if (const storage* from = find(at)) numbers[i] = *from;
        }
        advance(term, STEP, gather, shape.out_channels);
        return numbers;
    }
};

// A tile in shared memory is always [term][line], so that the threads read four lines at once.  Rows are 4 numbers
// longer than the tile: a warp that stores along the terms then meets each of the 32 banks once.
template <int TILE> using SharedTile = real[STEP][TILE + 4];

template <int TILE, Direction DIRECTION> __device__ inline void store(const real4& four, SharedTile<TILE>& tile) {
    int thread = threadIdx.x;
    if (DIRECTION == ALONG_TERMS) {
        for (int i = 0; i < 4; ++i) tile[thread % 2 * 4 + i][thread / 2] = four[i];
    } else {
        write4(&tile[thread / (TILE / 4)][thread % (TILE / 4) * 4], four);
    }
}

// COUNT lines of one term: groups of four neighbours, TILE / 2 apart.
template <int TILE, int COUNT>
__device__ inline void load(const SharedTile<TILE>& tile, int term, int first, real (&values)[COUNT]) {
#pragma unroll
    for (int group = 0; group < COUNT / 4; ++group) {
        real4 four = *reinterpret_cast<const real4*>(&tile[term][first + group * (TILE / 2)]);
#pragma unroll
        for (int i = 0; i < 4; ++i) values[4 * group + i] = four[i];
    }
}

// The results of one thread.  Its rows are 4 neighbours and 4 more TILE / 2 further down; so are its columns, where it
// has 8.  The 16 threads side by side then read 64 neighbouring numbers of a tile, without a conflict of banks.
template <int TILE> struct Results {
    static constexpr int COLUMNS = TILE / 16;
    real sums[8][COLUMNS];

    __device__ static int first_row() { return threadIdx.x / 16 * 4; }
    __device__ static int first_column() { return threadIdx.x % 16 * 4; }

    __device__ void add_products(const SharedTile<TILE>& left, const SharedTile<TILE>& right) {
#pragma unroll 2  // unrolled altogether, it needs more registers than a thread may have here
        for (int term = 0; term < STEP; ++term) {
            real rows[8], columns[COLUMNS];
            load<TILE>(left, term, first_row(), rows);
            load<TILE>(right, term, first_column(), columns);
#pragma unroll
            for (int i = 0; i < 8; ++i)
#pragma unroll
                for (int j = 0; j < COLUMNS; ++j) sums[i][j] += rows[i] * columns[j];
        }
    }
    // write(row, column, four numbers) for all results, rows and columns counted in the whole product
    template <class Write> __device__ void hand_out(Write write) const {
#pragma unroll
        for (int i = 0; i < 8; ++i)
#pragma unroll
            for (int j = 0; j < COLUMNS; j += 4)
                write(blockIdx.x * TILE + first_row() + i / 4 * (TILE / 2) + i % 4,
                      blockIdx.y * TILE + first_column() + j / 4 * (TILE / 2),
                      real4{sums[i][j], sums[i][j + 1], sums[i][j + 2], sums[i][j + 3]});
    }
};

// The sum of `steps` steps of 8 terms.
template <int TILE, class Left, class Right>
__device__ Results<TILE> product(Left left, Right right, int steps) {
    __shared__ __align__(16) real left_tiles[2][STEP][TILE + 4], right_tiles[2][STEP][TILE + 4];
    Results<TILE> results = {};
    store<TILE, Left::DIRECTION>(left.next(), left_tiles[0]);
    store<TILE, Right::DIRECTION>(right.next(), right_tiles[0]);
    __syncthreads();
    for (int step = 0; step < steps; ++step) {
        int now = step % 2;
        bool more = step + 1 < steps;
        real4 next_left, next_right;
        if (more) {
            next_left = left.next();
            next_right = right.next();
        }
        results.add_products(left_tiles[now], right_tiles[now]);
        if (more) {
            store<TILE, Left::DIRECTION>(next_left, left_tiles[1 - now]);
            store<TILE, Right::DIRECTION>(next_right, right_tiles[1 - now]);
        }
        __syncthreads();
    }
    return results;
}

// Steps first .. last - 1 of a sum over `terms`, for this block's part of it.
struct Part {
    int first, last;
};
__device__ inline Part own_part(int terms) {
    int steps = (terms + STEP - 1) / STEP;
    return {(int)(steps * (long long)blockIdx.z / gridDim.z), (int)(steps * (blockIdx.z + 1LL) / gridDim.z)};
}

// Four results side by side, as far as there are columns.
template <class Number>
__device__ inline void store_four(Number* to, const real4& four, int left, bool fours) {
    if (fours)
        write4(to, four);
    else
        for (int i = 0; i < 4; ++i)
            if (i < left) to[i] = four[i];
}

// Rows: pixels of y.  Columns: its channels.  Blocks: (tiles of pixels, tiles of channels, parts of the sum).
// With more than one part the sums go to parts (part_count, pixels, out_channels), and finish_parts completes them.
template <int TILE>
__device__ void forward(const storage* x, const storage* weight, const real* bias, const storage* residual, storage* y,
                        real* parts, const ConvShape& shape, const Epilogue& epilogue) {
    Gather gather = forward_gather(shape);
    int pixels = shape.batch * shape.out_height * shape.out_width;
    int terms = shape.kernel_height * shape.kernel_width * shape.in_channels;
    int channels = shape.out_channels;
    Part part = own_part(terms);
    Windows windows(x, gather, shape.in_channels, shape.in_pixel, pixels, part.first * STEP);
    Matrix weights(weight, terms, channels, channels, part.first * STEP);
    Results<TILE> results = product<TILE>(windows, weights, part.last - part.first);
    bool fours = in_fours(y, channels, shape.out_pixel);
    results.hand_out([&](int pixel, int channel, real4 four) {
        if (pixel >= pixels || channel >= channels) return;
        if (parts) {
            real* to = parts + ((long long)blockIdx.z * pixels + pixel) * channels + channel;
            return store_four(to, four, channels - channel, in_fours(parts, channels, channels));
        }
        for (int i = 0; i < 4; ++i)
            if (channel + i < channels) four[i] = finish(four[i], pixel, channel + i, bias, residual, shape, epilogue);
        store_four(y + pixel * (long long)shape.out_pixel + channel, four, channels - channel, fours);
    });
}

// Rows: pixels of dx, one phase of them (conv_gather.cuh).  Columns: its channels.
// Blocks: (tiles of pixels, tiles of channels, phases).
template <int TILE>
__device__ void grad_input(const storage* grad, const storage* weight, storage* dx, const ConvShape& shape) {
    Gather gather = phase_gather(shape, blockIdx.z);
    int pixels = shape.batch * gather.down.count * gather.right.count;
    if (blockIdx.x * TILE >= pixels) return;  // this phase has fewer pixels than others; true for the whole block
    int channels = shape.in_channels;
    int terms = gather.down.taps * gather.right.taps * shape.out_channels;
    Results<TILE> results = {};  // zeros stay where no window reaches these pixels
    if (terms > 0) {
        Windows windows(grad, gather, shape.out_channels, shape.out_pixel, pixels, 0);
        WeightTurned weights(weight, gather, shape);
        results = product<TILE>(windows, weights, (terms + STEP - 1) / STEP);
    }
    bool fours = in_fours(dx, channels, shape.in_pixel);
    results.hand_out([&](int row, int channel, const real4& four) {
        if (row >= pixels || channel >= channels) return;
        long long pixel = pixel_of(place_of(row, gather), gather, shape.height, shape.width);
        store_four(dx + pixel * shape.in_pixel + channel, four, channels - channel, fours);
    });
}

// Rows: terms (u, v, c).  Columns: channels of y.  Blocks: (tiles of terms, tiles of channels, parts of the pixels).
// sums: (parts, terms, out_channels), which sum_parts adds in order.
template <int TILE>
__device__ void grad_weight(const storage* x, const storage* grad, real* sums, const ConvShape& shape) {
    Gather gather = forward_gather(shape);
    int pixels = shape.batch * shape.out_height * shape.out_width;
    int terms = shape.kernel_height * shape.kernel_width * shape.in_channels;
    int channels = shape.out_channels;
    Part part = own_part(pixels);
    WindowsTurned windows(x, gather, shape, part.first * STEP);
    Matrix grads(grad, pixels, channels, shape.out_pixel, part.first * STEP);
    Results<TILE> results = product<TILE>(windows, grads, part.last - part.first);
    bool fours = in_fours(sums, channels, channels);
    results.hand_out([&](int term, int channel, const real4& four) {
        if (term >= terms || channel >= channels) return;
        real* to = sums + ((long long)blockIdx.z * terms + term) * channels + channel;
        store_four(to, four, channels - channel, fours);
    });
}

// The kernels: one per product and tile.  The second number of __launch_bounds__ is how many blocks shall find room
// on a multiprocessor at once, which limits the registers of a thread to 65536 / (threads * blocks).
extern "C" __global__ void __launch_bounds__(256, 2)
conv_blocked_forward_128(const storage* x, const storage* weight, const real* bias, const storage* residual, storage* y,
                         real* parts, ConvShape shape, Epilogue epilogue) {
    forward<128>(x, weight, bias, residual, y, parts, shape, epilogue);
}

extern "C" __global__ void __launch_bounds__(128, 4)
conv_blocked_forward_64(const storage* x, const storage* weight, const real* bias, const storage* residual, storage* y,
                        real* parts, ConvShape shape, Epilogue epilogue) {
    forward<64>(x, weight, bias, residual, y, parts, shape, epilogue);
}

extern "C" __global__ void __launch_bounds__(256, 2)
conv_blocked_grad_input_128(const storage* grad, const storage* weight, storage* dx, ConvShape shape) {
    grad_input<128>(grad, weight, dx, shape);
}

extern "C" __global__ void __launch_bounds__(128, 4)
conv_blocked_grad_input_64(const storage* grad, const storage* weight, storage* dx, ConvShape shape) {
    grad_input<64>(grad, weight, dx, shape);
}

extern "C" __global__ void __launch_bounds__(256, 2)
conv_blocked_grad_weight_128(const storage* x, const storage* grad, real* sums, ConvShape shape) {
    grad_weight<128>(x, grad, sums, shape);
}

extern "C" __global__ void __launch_bounds__(128, 4)
conv_blocked_grad_weight_64(const storage* x, const storage* grad, real* sums, ConvShape shape) {
    grad_weight<64>(x, grad, sums, shape);
}
