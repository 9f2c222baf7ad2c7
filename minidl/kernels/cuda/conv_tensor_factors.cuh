// The factors of the products that make a convolution, and how they come into shared memory, 16 bytes at a time.
//
// A factor's copy_next(stage) begins the copies of the next TERMS terms.  Where a number's place in memory depends on
// pixels and taps, as little as possible is computed in there: it runs once per stage, next to the multiplications.
// Every chunk of 16 bytes is neighbouring channels of one pixel (or cell of the kernel), for channels are a multiple
// of CHUNK; and a thread always copies the same chunk of a row, so it has one term, or one line, to keep track of.
#pragma once
#include "conv_gather.cuh"
#include "conv_tensor_product.cuh"

// Which tap and channel a thread is at, and what that adds to an address.
struct TapCursor {
    int tap;
    int channel, channels;
    int right, taps_right;
    int offset;           // of the tap's source, or weights, from that of tap 0
    int step, line_step;  // what the next tap adds to it, and at the end of a row of taps the first of the next row

    __device__ TapCursor(int term, const Gather& gather, int channels, int step_right, int step_down)
        : channels(channels), taps_right(gather.right.taps),
          step(step_right), line_step(step_down - (gather.right.taps - 1) * step_right) {
        tap = term / channels;
        channel = term % channels;
        right = tap % taps_right;
        offset = tap / taps_right * step_down + right * step_right;
    }
    __device__ void advance() {
        channel += TERMS;
        while (channel >= channels) {
            channel -= channels;
            ++tap;
            ++right;
            offset += right < taps_right ? step : line_step;
            if (right == taps_right) right = 0;
        }
    }
};

// Left factor of the forward pass and of the gradient of the input: a row for each result, its window of the map.
template <int ROWS> struct Windows {
    typedef TermsTogether<ROWS> Stage;
    const storage* map;
    TapCursor cursor;
    int origin[Stage::COPIES];       // where tap 0 of each of this thread's rows is; it may lie outside the map
    unsigned inside[Stage::COPIES];  // bit t: there is a tap t, and it lies inside the map; bit 31: never

    __device__ Windows(const storage* map, const Gather& gather, int channels, int pixel_distance, int rows,
                       int first_term)
        : map(map), cursor(first_term + Stage::own_chunk() * CHUNK, gather, channels,
                           gather.right.tap_step * pixel_distance,
                           gather.down.tap_step * gather.right.size * pixel_distance) {
#pragma unroll
        for (int i = 0; i < Stage::COPIES; ++i) {
            int row = blockIdx.x * ROWS + i * Stage::AT_ONCE + Stage::own_row();
            Place place = place_of(row, gather);
            int down = gather.down.start + place.down * gather.down.step;
            int right = gather.right.start + place.right * gather.right.step;
            origin[i] = ((place.image * gather.down.size + down) * gather.right.size + right) * pixel_distance;
            inside[i] = row < rows ? taps_inside(gather, down, right) : 0;
        }
    }
    __device__ static unsigned taps_inside(const Gather& gather, int down, int right) {
        unsigned line = 0, all = 0;
#pragma unroll 1  // it runs once: short code is worth more
        for (int tap = 0; tap < gather.right.taps; ++tap, right += gather.right.tap_step)
            if (0 <= right && right < gather.right.size) line |= 1u << tap;
#pragma unroll 1
        for (int tap = 0; tap < gather.down.taps; ++tap, down += gather.down.tap_step)
            if (0 <= down && down < gather.down.size) all |= line << tap * gather.right.taps;
        return all;
    }
    __device__ void copy_next(Stage& stage) {
#pragma unroll
        for (int i = 0; i < Stage::COPIES; ++i) {
            const storage* from = map + (origin[i] + cursor.offset + cursor.channel);
            stage.copy(i, from, inside[i] >> min(cursor.tap, 31) & 1);  // the last stage may go beyond the last tap
        }
        cursor.advance();
    }
};

// Left factor of the gradient of the weight: the same windows, but a row for each number of a window, and the sum runs
// over the results of the forward pass, that is, over pixels.
template <int ROWS> struct WindowsTurned {
    typedef LinesTogether<ROWS> Stage;
    const storage* map;
    const Gather& gather;
    int pixel_distance, pixel, pixels;
    Place place, step;  // of the pixel, and what one copy adds to it
    int down, right;    // of the tap
    bool exists;        // the row

    __device__ WindowsTurned(const storage* x, const Gather& gather, int channels, int pixel_distance, int pixels,
                             int first_pixel)
        : gather(gather), pixel_distance(pixel_distance), pixels(pixels) {
        pixel = first_pixel + Stage::own_row();
        place = place_of(pixel, gather);
        step = place_of(Stage::AT_ONCE, gather);
        Term term = term_of(blockIdx.x * ROWS + Stage::own_chunk() * CHUNK, gather, channels);
        down = gather.down.start + term.down;
        right = gather.right.start + term.right;
        exists = term.down < gather.down.taps;
        map = x + term.channel;
    }
    __device__ void copy_next(Stage& stage) {
#pragma unroll
        for (int i = 0; i < Stage::COPIES; ++i) {
            int row = down + place.down * gather.down.step, column = right + place.right * gather.right.step;
            bool inside = exists && pixel < pixels && (unsigned)row < (unsigned)gather.down.size &&
                          (unsigned)column < (unsigned)gather.right.size;
            int source = (place.image * gather.down.size + row) * gather.right.size + column;
            stage.copy(i, map + source * pixel_distance, inside);
            advance();
        }
    }
    __device__ void advance() {
        pixel += Stage::AT_ONCE;
        place.image += step.image;
        place.down += step.down;
        place.right += step.right;
        if (place.right >= gather.right.count) {  // carried as in the addition of numbers, digit by digit
            place.right -= gather.right.count;
            ++place.down;
        }
        if (place.down >= gather.down.count) {
            place.down -= gather.down.count;
            ++place.image;
        }
    }
};

// Right factor that lies in memory as a matrix (terms, columns): the weight, or the gradient of y.
template <int COLUMNS> struct Matrix {
    typedef LinesTogether<COLUMNS> Stage;
    const storage* from;
    int term, terms, distance;
    bool exists;  // the column

    __device__ Matrix(const storage* matrix, int terms, int columns, int distance, int first_term)
        : terms(terms), distance(distance) {
        int column = blockIdx.y * COLUMNS + Stage::own_chunk() * CHUNK;
        exists = column < columns;
        term = first_term + Stage::own_row();
        from = matrix + (term * (long long)distance + column);
    }
    __device__ void copy_next(Stage& stage) {
#pragma unroll
        for (int i = 0; i < Stage::COPIES; ++i) {
            int next = i * Stage::AT_ONCE;
            stage.copy(i, from + next * distance, exists && term + next < terms);
        }
        term += TERMS;
        from += TERMS * distance;
    }
};

// Right factor of the gradient of the input: weight[u, v, c, o], a term for each (u, v, o) and a column for each c.
template <int COLUMNS> struct WeightTurned {
    typedef TermsTogether<COLUMNS> Stage;
    const storage* from;  // this thread's first column, tap 0, channel 0
    TapCursor cursor;
    int column, columns, taps;

    __device__ WeightTurned(const storage* weight, const Gather& gather, const ConvShape& shape)
        : cursor(Stage::own_chunk() * CHUNK, gather, shape.out_channels,
                 gather.right.kernel_step * shape.in_channels * shape.out_channels,
                 gather.down.kernel_step * shape.kernel_width * shape.in_channels * shape.out_channels),
          columns(shape.in_channels), taps(gather.down.taps * gather.right.taps) {
        column = blockIdx.y * COLUMNS + Stage::own_row();
        from = weight + kernel_cell({0, 0, 0}, gather, shape) + column * (long long)shape.out_channels;
    }
    __device__ void copy_next(Stage& stage) {
        bool exists = cursor.tap < taps;  // the last stage may go beyond the last tap
#pragma unroll
        for (int i = 0; i < Stage::COPIES; ++i) {
            int next = i * Stage::AT_ONCE;
            stage.copy(i, from + (next * cursor.channels + cursor.offset + cursor.channel),
                       exists && column + next < columns);
        }
        cursor.advance();
    }
};
