// Exchange within a warp, 32 threads that run together (CUDA C++ Programming Guide, "Warp Shuffle Functions", "Warp
// Vote Functions").  Each lane of the mask hands out a value; when all have come, each takes the one it asked for.
#pragma once

namespace emulator {
inline int lane() { return emulated_thread.number % 32; }

template <class T>
T exchange(unsigned mask, T value, int from, const char* operation, Place place) {
    emulator_hand_out(&value, sizeof value, mask, operation, place);
    emulator_take(&value, sizeof value, from);
    return value;
}
}  // namespace emulator

// width (a power of two) cuts the warp into groups that exchange among themselves; lanes that would reach beyond their
// group keep their own value.
template <class T>
T __shfl_sync(unsigned mask, T value, int source, int width = 32, emulator::Place place = emulator::Place::here()) {
    int first = emulator::lane() & ~(width - 1);
    return emulator::exchange(mask, value, first + (source & (width - 1)), __func__, place);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int flip, int width = 32, emulator::Place place = emulator::Place::here()) {
    int lane = emulator::lane(), from = lane ^ flip;
    bool beyond = from / width > lane / width;
    return emulator::exchange(mask, value, beyond ? lane : from, __func__, place);
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned distance, int width = 32,
                   emulator::Place place = emulator::Place::here()) {
    int lane = emulator::lane();
    bool beyond = lane % width + distance >= unsigned(width);
    return emulator::exchange(mask, value, beyond ? lane : lane + distance, __func__, place);
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned distance, int width = 32,
                 emulator::Place place = emulator::Place::here()) {
    int lane = emulator::lane();
    bool beyond = unsigned(lane % width) < distance;
    return emulator::exchange(mask, value, beyond ? lane : lane - distance, __func__, place);
}

namespace emulator {
// The lanes that a warp has: fewer than 32 in the last one of a block that is no multiple of 32.
inline unsigned existing_lanes() {
    unsigned threads = blockDim.x * blockDim.y * blockDim.z, first = emulated_thread.number / 32 * 32;
    return threads - first < 32 ? (1u << (threads - first)) - 1 : ~0u;
}

// Bit i is set if lane i of the mask has a predicate other than zero.
inline unsigned vote(unsigned mask, int predicate, const char* operation, Place place) {
    emulator_hand_out(&predicate, sizeof predicate, mask, operation, place);
    unsigned votes = 0;
    for (int lane = 0; lane < 32; ++lane) {
        if (!((mask & existing_lanes()) >> lane & 1)) continue;
        emulator_take(&predicate, sizeof predicate, lane);
        votes |= unsigned(predicate != 0) << lane;
    }
    return votes;
}
}  // namespace emulator
inline unsigned __ballot_sync(unsigned mask, int predicate, emulator::Place place = emulator::Place::here()) {
    return emulator::vote(mask, predicate, __func__, place);
}
inline int __any_sync(unsigned mask, int predicate, emulator::Place place = emulator::Place::here()) {
    return emulator::vote(mask, predicate, __func__, place) != 0;
}
inline int __all_sync(unsigned mask, int predicate, emulator::Place place = emulator::Place::here()) {
    return emulator::vote(mask, predicate, __func__, place) == (mask & emulator::existing_lanes());
}
