// Packs: a few neighbouring numbers that one thread moves at once, and where in a map they lie.
//
// Kernels that only move numbers, or compute a little with each, take as long as memory needs: bytes over bandwidth.
// A warp that reads 4 numbers per thread asks for 512 bytes by one instruction (float32), and has four times as many
// bytes on their way as with 1 number per thread.  WIDTH is 4 where runs of channels and addresses divide, else 1; the
// CPU decides (packs.py), and the whole grid takes the same branch.
#pragma once
#include "real.cuh"

template <int WIDTH> struct Pack {
    real numbers[WIDTH];
    __device__ real& operator[](int i) { return numbers[i]; }
    __device__ real operator[](int i) const { return numbers[i]; }
};

template <int WIDTH> __device__ inline Pack<WIDTH> load_pack(const storage* from) {
    if constexpr (WIDTH == 4) {
        real4 four = read4(from);
        return {four[0], four[1], four[2], four[3]};
    } else {
        return {real(from[0])};
    }
}

template <int WIDTH> __device__ inline void store_pack(storage* to, const Pack<WIDTH>& pack) {
    if constexpr (WIDTH == 4) {
        write4(to, {pack[0], pack[1], pack[2], pack[3]});
    } else {
        to[0] = pack[0];
    }
}

// Where in a map (batch, height, width, channels) a pack lies; channel is its first.
struct Place {
    int image, row, column, channel;
};

// The place of the index-th pack, if packs are counted as they lie in memory: neighbouring threads, neighbouring packs.
template <int WIDTH> __device__ inline Place place_of(int index, int height, int width, int channels) {
    int packs = channels / WIDTH;  // of a pixel
    int pixel = index / packs, line = pixel / width;
    return {line / height, line % height, pixel % width, index % packs * WIDTH};
}

// The pixel at a row and a column of an image, counted from the first of the batch.
__device__ inline int pixel_at(int image, int row, int column, int height, int width) {
    return (image * height + row) * width + column;
}
