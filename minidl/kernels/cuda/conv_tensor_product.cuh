// A product of two matrices on tensor cores: the algorithm that all convolutions of conv_tensor.cu share.
//
//     result[row, column] = sum over terms of  left[row, term] * right[term, column]
//
// A block of 128 threads, four warps, computes a tile of ROWS x COLUMNS results, a quarter per warp:
//
//                                                    1. Both factors come into shared memory in stages of 128 bytes
//                       +-----------------+             of terms: 32 numbers of TF32, or 64 halves.  The copies are
//                       | terms x columns |             asynchronous: while one stage is multiplied, the next two
//                       +-----------------+             are on their way.
//     +--------------+  +--------+--------+          2. A warp reads the words it needs into registers as mma.sync
//     |              |  | warp 0 | warp 1 |             wants them (mma.cuh) and multiplies.  With 64 x 64 results
//     | rows x terms |  +--------+--------+             per warp, 128 registers per thread, a word that was read
//     |              |  | warp 2 | warp 3 |             serves often enough for shared memory to keep pace with the
//     +--------------+  +--------+--------+             tensor cores.
//                                                    3. At the end the results pass through shared memory, so that
//                                                       neighbouring threads write neighbouring channels.
//
// TF32 and half precision differ in how many numbers 16 bytes hold, and in the instruction that multiplies.
#pragma once
#include "mma.cuh"
#include "real.cuh"

constexpr int THREADS = 128;
constexpr int STAGES = 3;                    // one is multiplied, two are on their way
constexpr int CHUNK = 16 / sizeof(storage);  // numbers that one instruction copies: 4 floats, 8 halves
constexpr int TERMS = 8 * CHUNK;             // terms of a stage: 128 bytes
constexpr int STEP = 2 * CHUNK;              // terms of one mma.sync: 8 words

// Rows of numbers in shared memory, in chunks of 16 bytes.
//
// Shared memory has 32 banks of 4 bytes, and a warp reads fastest if it meets each of them once.  Reading one chunk of
// each of eight rows would meet the same four banks eight times, for all rows begin in the same bank.  So row r keeps
// its chunk c in the place c ^ (r % 8): eight rows, eight places.  Where words are read one by one, as lane 4 g + t
// does with word g of row t (read_word), four rows meet, with two chunks each: then the place is c ^ (r % 4 * 2).
//
//              chunks, in the order of their places
//     row 0    0 1 2 3 4 5 6 7            0 1 2 3 4 5 6 7
//     row 1    1 0 3 2 5 4 7 6            2 3 0 1 6 7 4 5
//     row 2    2 3 0 1 6 7 4 5            4 5 6 7 0 1 2 3
//     row 3    3 2 1 0 7 6 5 4            6 7 4 5 2 3 0 1
//     ...                                 (WORDS)
template <int ROWS, int WIDTH, bool WORDS> struct ChunkedRows {
    static constexpr int CHUNKS = WIDTH / CHUNK;      // of a row
    static constexpr int AT_ONCE = THREADS / CHUNKS;  // rows that the block copies at once, a chunk per thread
    static constexpr int COPIES = ROWS / AT_ONCE;     // of each thread, to fill all rows

    alignas(16) storage numbers[ROWS][WIDTH];

    __device__ static unsigned place(unsigned row, unsigned chunk) {
        return chunk / 8 * 8 + (chunk % 8 ^ (WORDS ? row % 4 * 2 : row % 8));
    }
    __device__ const storage* at(unsigned row, unsigned chunk) const {
        return &numbers[row][place(row, chunk) * CHUNK];
    }

    // This thread copies the same chunk of the rows own_row(), own_row() + AT_ONCE, ...; all keep it in the same place.
    __device__ static unsigned own_row() { return threadIdx.x / CHUNKS; }
    __device__ static unsigned own_chunk() { return threadIdx.x % CHUNKS; }
    __device__ void copy(int copy, const storage* from, bool inside) {
        copy_async_16(&numbers[own_row() + copy * AT_ONCE][place(own_row(), own_chunk()) * CHUNK], from, inside);
    }
};

// A factor's part of a stage.  A line is a row of the left factor or a column of the right one.  In memory either the
// terms of a line are neighbours or the lines of a term are; copies of 16 bytes keep that order.
template <int LINES> struct TermsTogether : ChunkedRows<LINES, TERMS, false> {};
template <int LINES> struct LinesTogether : ChunkedRows<TERMS, LINES, sizeof(storage) == 4> {};

// TF32 rounds both factors to nearest here.  Otherwise the hardware would cut off their lower bits, which makes every
// product smaller, an error that does not average out.
__device__ inline void round_words(unsigned (&words)[4]) {
    if constexpr (sizeof(storage) == 4)
        for (int i = 0; i < 4; ++i) words[i] = to_tf32(__uint_as_float(words[i]));
}

// The number at (term + t, line + g) for lane 4 g + t.  What is known when compiling, term and line, is added after the
// place of the lane's own chunk is found: it becomes part of the instruction.  warp: a multiple of 32, not known then.
template <int LINES>
__device__ inline float read_word(const LinesTogether<LINES>& stage, unsigned warp, unsigned line, unsigned term) {
    unsigned g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
    const storage* own = &stage.numbers[t][warp + (line % 32 ^ t * 8) + g];
    return own[term * LINES + line / 32 * 32];
}

// mma.sync's a: 16 rows from warp + row on, STEP terms from `term` on.
template <int LINES>
__device__ inline void read_left(unsigned (&a)[4], const TermsTogether<LINES>& stage, unsigned warp, unsigned row,
                                 unsigned term) {
    unsigned lane = threadIdx.x % 32;
    load_matrix_x4(a, stage.at(warp + row + lane % 16, term / CHUNK + lane / 16));
    round_words(a);
}
template <int LINES>
__device__ inline void read_left(unsigned (&a)[4], const LinesTogether<LINES>& stage, unsigned warp, unsigned row,
                                 unsigned term) {
    unsigned lane = threadIdx.x % 32;
    if constexpr (sizeof(storage) == 2)
        load_matrix_x4_transposed(a, stage.at(term + lane / 16 * 8 + lane % 8, (warp + row) / CHUNK + lane / 8 % 2));
    else
        for (unsigned i = 0; i < 4; ++i) a[i] = to_tf32(read_word(stage, warp, row + i % 2 * 8, term + i / 2 * 4));
}

// mma.sync's b, twice: 8 columns from warp + column on in words 0 and 1, the next 8 in words 2 and 3.
template <int LINES>
__device__ inline void read_right(unsigned (&b)[4], const TermsTogether<LINES>& stage, unsigned warp, unsigned column,
                                  unsigned term) {
    unsigned lane = threadIdx.x % 32;
    load_matrix_x4(b, stage.at(warp + column + lane / 16 * 8 + lane % 8, term / CHUNK + lane / 8 % 2));
    round_words(b);
}
template <int LINES>
__device__ inline void read_right(unsigned (&b)[4], const LinesTogether<LINES>& stage, unsigned warp, unsigned column,
                                  unsigned term) {
    unsigned lane = threadIdx.x % 32;
    if constexpr (sizeof(storage) == 2)
        load_matrix_x4_transposed(b, stage.at(term + lane % 16, (warp + column) / CHUNK + lane / 16));
    else
        for (unsigned i = 0; i < 4; ++i) b[i] = to_tf32(read_word(stage, warp, column + i / 2 * 8, term + i % 2 * 4));
}

__device__ inline void multiply_add(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
    if constexpr (sizeof(storage) == 2)
        mma_m16n8k16_f16(d, a, b);
    else
        mma_m16n8k8_tf32(d, a, b);
}

// The results of one thread: its part of each 16 x 8 piece of the warp's quarter.
template <int ROWS, int COLUMNS> struct Results {
    static constexpr int PIECES_DOWN = ROWS / 2 / 16, PIECES_RIGHT = COLUMNS / 2 / 8;
    float sums[PIECES_DOWN][PIECES_RIGHT][4];

    __device__ static unsigned first_row() { return threadIdx.x / 64 * (ROWS / 2); }
    __device__ static unsigned first_column() { return threadIdx.x / 32 % 2 * (COLUMNS / 2); }

    template <class LeftStage, class RightStage>
    __device__ void add_products(const LeftStage& left, const RightStage& right) {
#pragma unroll 2  // unrolled altogether, it needs more registers than a thread may have here
        for (int term = 0; term < TERMS; term += STEP) {
            unsigned a[PIECES_DOWN][4], b[PIECES_RIGHT / 2][4];
#pragma unroll
            for (int i = 0; i < PIECES_DOWN; ++i) read_left(a[i], left, first_row(), 16 * i, term);
#pragma unroll
            for (int j = 0; j < PIECES_RIGHT / 2; ++j) read_right(b[j], right, first_column(), 16 * j, term);
#pragma unroll
            for (int i = 0; i < PIECES_DOWN; ++i)
#pragma unroll
                for (int j = 0; j < PIECES_RIGHT; ++j)
                    multiply_add(sums[i][j], a[i], {b[j / 2][j % 2 * 2], b[j / 2][j % 2 * 2 + 1]});
        }
    }

    // write(row, column, four results side by side), both counted in the tile.  tile: shared memory nobody uses.
    template <class Write> __device__ void hand_out(float (*tile)[COLUMNS + 8], Write write) const {
        int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
#pragma unroll
        for (int i = 0; i < PIECES_DOWN; ++i)
#pragma unroll
            for (int j = 0; j < PIECES_RIGHT; ++j)
#pragma unroll
                for (int half = 0; half < 2; ++half) {
                    float* to = &tile[first_row() + 16 * i + 8 * half + g][first_column() + 8 * j + 2 * t];
                    *reinterpret_cast<float2*>(to) = {sums[i][j][2 * half], sums[i][j][2 * half + 1]};
                }
        __syncthreads();
        for (int four = threadIdx.x; four < ROWS * COLUMNS / 4; four += THREADS) {
            int row = four / (COLUMNS / 4), column = four % (COLUMNS / 4) * 4;
            write(row, column, *reinterpret_cast<const real4*>(&tile[row][column]));
        }
    }
};

// All that a block keeps in shared memory: first the stages, and when they have served, the results.
template <int ROWS, int COLUMNS, class Left, class Right> union SharedMemory {
    struct {
        typename Left::Stage left;
        typename Right::Stage right;
    } stages[STAGES];
    float tile[ROWS][COLUMNS + 8];  // with a gap: rows begin in banks 0, 8, 16, 24
};

// The sum over `count` stages.  left and right: what copies the next stage of a factor (conv_tensor_factors.cuh).
template <int ROWS, int COLUMNS, class Left, class Right>
__device__ Results<ROWS, COLUMNS> product(SharedMemory<ROWS, COLUMNS, Left, Right>& shared, Left left, Right right,
                                          int count) {
    static_assert(sizeof(shared) <= STAGES * 128 * (ROWS + COLUMNS), "conv_tensor.py asks for so much");
    Results<ROWS, COLUMNS> results = {};
    // One group of copies per stage, even an empty one beyond the last: then the latest STAGES - 2 groups are always
    // those that may still be under way.
    auto begin_copying = [&](int number) {
        if (number < count) {
            left.copy_next(shared.stages[number % STAGES].left);
            right.copy_next(shared.stages[number % STAGES].right);
        }
        copy_async_commit();
    };
    for (int number = 0; number < STAGES - 1; ++number) begin_copying(number);
    for (int number = 0; number < count; ++number) {
        copy_async_wait<STAGES - 2>();  // this thread's copies for this stage have arrived,
        __syncthreads();                // and those of all; and all have multiplied the stage before, which is free now
        begin_copying(number + STAGES - 1);
        results.add_products(shared.stages[number % STAGES].left, shared.stages[number % STAGES].right);
    }
    __syncthreads();  // all have multiplied the last stage
    return results;
}

// Stages first .. first + count - 1 of a sum over `terms`: this block's part of it, the blockIdx.z-th of gridDim.z.
struct Part {
    int first, count;
};
__device__ inline Part own_part(int terms) {
    int stages = (terms + TERMS - 1) / TERMS;
    int first = (int)(stages * (long long)blockIdx.z / gridDim.z);
    return {first, (int)(stages * (blockIdx.z + 1LL) / gridDim.z) - first};
}
