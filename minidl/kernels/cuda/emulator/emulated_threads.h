// Threads, blocks, shared memory, barriers, printf: what a kernel asks of the scheduler (scheduler.cpp).
#pragma once

namespace emulator {
// The line of a kernel that asks for something.  As a default argument, here() stands for the line of the call.
struct Place {
    const char* file;
    int line;
    static constexpr Place here(const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
        return {file, line};
    }
};

enum Access { READ, WRITE, ATOMIC, WRITE_LATER };  // the last: a background copy begins

// Of an array's element; and of the unit that checked builds keep a record for: a number, or two bytes of a struct,
// different parts of which different threads may use.
struct ElementSize { size_t all, unit; };

struct Identity { uint3 index; unsigned number; };  // of a thread; number: x + y * width + z * width * height
struct Block { dim3 grid, size; uint3 index; };
}  // namespace emulator

extern "C" {
extern emulator::Identity emulated_thread;  // the one that runs just now
extern emulator::Block emulated_block;

void emulator_wait_for_block(emulator::Place);
void emulator_wait_for_warp(unsigned mask, const char* operation, emulator::Place);
void emulator_sync_warp(unsigned mask, emulator::Place);
void emulator_hand_out(const void* value, unsigned size, unsigned mask, const char* operation, emulator::Place);
void emulator_take(void* value, unsigned size, int lane);
float* emulator_warp_scratch();  // 512 floats that the lanes of a warp share
void* emulator_shared(const void* declaration, size_t size, emulator::ElementSize, const char* name);
void* emulator_dynamic_shared(emulator::ElementSize, const char* name);
void emulator_copy_later(void* to, const void* from, unsigned size, bool inside, const void* caller);
void emulator_end_copy_group();
void emulator_wait_for_copies(int groups_left);
void emulator_touch(const void* address, size_t size, emulator::Access, const void* caller);
int emulator_printf(const char* format, ...) __attribute__((format(printf, 1, 2)));
}

// In a checked build (access_check.h) g++ puts a call before every access to memory.  Functions of these headers are
// spared and say themselves what they touch on behalf of the kernel's line that called them.
#ifdef EMULATOR_CHECKED
#define EMULATED_INSTRUCTION __attribute__((noinline, no_sanitize_thread))
#define EMULATED_TOUCH(address, size, access) \
    emulator_touch(address, size, emulator::access, __builtin_return_address(0))
#else
#define EMULATED_INSTRUCTION
#define EMULATED_TOUCH(address, size, access)
#endif

#ifndef EMULATOR_ITSELF
#define threadIdx (emulated_thread.index)
#define blockIdx (emulated_block.index)
#define blockDim (emulated_block.size)
#define gridDim (emulated_block.grid)
#define warpSize 32
#define printf emulator_printf
#endif

inline void __syncthreads(emulator::Place place = emulator::Place::here()) { emulator_wait_for_block(place); }
inline void __syncwarp(unsigned mask = ~0u, emulator::Place place = emulator::Place::here()) {
    emulator_sync_warp(mask, place);
}
// Threads take turns on one CPU core: what one wrote, all others see.
inline void __threadfence() {}
inline void __threadfence_block() {}

namespace emulator {
template <class Element>
constexpr ElementSize size_of_element() {
    return {sizeof(Element), std::is_arithmetic_v<Element> ? sizeof(Element) : 2};
}

// `__shared__ float tile[16][17];` becomes `auto& tile = emulator::shared<float[16][17], 0>("tile");`
template <class Array, int declaration>
EMULATED_INSTRUCTION inline Array& shared(const char* name) {
    static char key;  // its address tells this declaration from all others
    return *(Array*)emulator_shared(&key, sizeof(Array), size_of_element<std::remove_all_extents_t<Array>>(), name);
}

// `extern __shared__ float tile[];` becomes `float* tile = emulator::dynamic_shared<float>("tile");`
template <class Element>
Element* dynamic_shared(const char* name) {
    return (Element*)emulator_dynamic_shared(size_of_element<Element>(), name);
}
}  // namespace emulator
