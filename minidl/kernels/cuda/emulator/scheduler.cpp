// Runs CUDA blocks on one CPU core: one block after the other, one fiber for each of a block's threads.  Every thread
// runs until it ends or waits at a barrier; when all that a barrier is for have come, they are let go on.
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <algorithm>
#include <map>
#include <string>
#include <type_traits>
#include <vector>

#define EMULATOR_ITSELF
#include "emulated_vectors.h"
#include "emulated_threads.h"
using emulator::Access, emulator::ElementSize, emulator::Identity, emulator::Place;
using emulator::READ, emulator::WRITE, emulator::ATOMIC, emulator::WRITE_LATER;

#include "fiber.h"
#include "launch.h"
#include "thread_sanitizer.h"
#include "access_check.h"
#include "requests.h"

static bool takes_part(const Thread& thread) {
    return launch.only_thread < 0 || thread.identity.number == launch.only_thread;
}

static void run_one_thread() {
    launch.call(launch.arguments);
    ORDER_BEFORE(&end_of_launch);
    running->operation = "end", running->place = {nullptr, 0};
    leave(ENDED);
}

static void start(Thread& thread) {
    thread.state = READY;
    thread.phase = thread.warp_phase = thread.syncs_of_warp = thread.exchanges = 0;
    thread.open_group.clear(), thread.groups.clear();
    if (!prepare_fiber(thread.fiber, run_one_thread)) problem = "no memory for the stacks of its threads";
    destroy_after_launch(thread.fiber);
}

// Lets all lanes of a mask go on, which wait where `one` of them does.
static void release(Thread* lanes, unsigned mask, const Thread& one) {
    for (unsigned lane = 0; lane < 32; ++lane) {
        if (!(mask >> lane & 1)) continue;
        Thread& other = lanes[lane];
        if (other.operation != one.operation || other.place.line != one.place.line)
            problem = text_of(one.place) + ": lanes of one warp wait at different operations: " + one.operation + " (" +
                      who(one) + ") here, " + other.operation + " (" + who(other) + ") at " + text_of(other.place);
        other.state = READY;
    }
}

// Lets go on those lanes of a warp whose operation every lane of its mask has reached.  True if there were any.
static bool release_lanes(unsigned first) {
    Thread* lanes = &threads[first];
    unsigned count = std::min<size_t>(32, threads.size() - first), existing = count == 32 ? ~0u : (1u << count) - 1;
    unsigned waiting = 0, released = 0;
    for (unsigned lane = 0; lane < count; ++lane) waiting |= unsigned(lanes[lane].state == AT_WARP_BARRIER) << lane;
    for (unsigned lane = 0; lane < count && problem.empty(); ++lane) {
        const Thread& one = lanes[lane];
        if (!(waiting >> lane & 1) || released >> lane & 1) continue;
        unsigned mask = launch.only_thread < 0 ? one.mask & existing : 1u << lane;
        if (!(mask >> lane & 1))
            problem = text_of(one.place) + ": the mask of " + one.operation + " leaves out the lane that calls it (" +
                      who(one) + ")";
        else if ((waiting & mask) == mask) {
            release(lanes, mask, one);
            released |= mask;
        }
    }
    return released;
}

// Called when no thread can go on by itself.  True if all wait at the same barrier, and are let go on; false if all
// have ended.  Anything else is a bug in the kernel.
static bool release_block() {
    const Thread *waiting = nullptr, *ended = nullptr;
    for (const Thread& thread : threads) {
        if (!takes_part(thread)) continue;
        if (thread.state == AT_WARP_BARRIER)
            problem = text_of(thread.place) + ": " + thread.operation +
                      " waits for lanes of its warp that never come (" + who(thread) + ")";
        else if (thread.state == ENDED)
            ended = &thread;
        else if (waiting && waiting->place.line != thread.place.line)
            problem = text_of(waiting->place) + ": threads of one block wait at different barriers: " + who(*waiting) +
                      " here, " + who(thread) + " at " + text_of(thread.place);
        else
            waiting = &thread;
        if (!problem.empty()) return false;
    }
    if (waiting && ended)
        problem = text_of(waiting->place) + ": not every thread reaches this __syncthreads: " + who(*waiting) +
                  " waits, " + who(*ended) + " has ended";
    if (!waiting || ended) return false;
    for (Thread& thread : threads) thread.state = READY;
    return true;
}

static void shuffle_order(uint32_t& random) {
    for (size_t i = order.size() - 1; i > 0; --i) {
        random = random * 1664525 + 1013904223;  // a linear congruential generator: the same numbers everywhere
        std::swap(order[i], order[(random >> 8) % (i + 1)]);
    }
}

static void run_block(uint32_t& random) {
    order.clear();
    for (Thread& thread : threads)
        if (takes_part(thread)) start(thread), order.push_back(&thread);
    if (order.empty()) return;
    if (launch.order == 1) std::reverse(order.begin(), order.end());
    while (problem.empty()) {
        if (launch.order > 1) shuffle_order(random);
        position = 0;
        switch_fibers(scheduler_fiber, next_fiber());  // comes back when all have had their turn
        bool released = false;
        for (unsigned first = 0; first < threads.size() && problem.empty(); first += 32)
            released |= release_lanes(first);
        if (problem.empty() && !released && !release_block()) break;
    }
}

static void free_shared_memory() {
    forget_shared_arrays();
    for (auto& each : shared_arrays) free(each.second.memory);
    shared_arrays.clear();
    free(dynamic_memory);
    dynamic_memory = nullptr;
}

static void run_blocks() {
    size_t count = size_t(launch.grid[0]) * launch.grid[1] * launch.grid[2];
    uint32_t random = launch.order;
    prepare_barriers(count);
    for (size_t i = 0; i < count && problem.empty(); ++i) {
        block_number = launch.order == 1 ? count - 1 - i : i;
        if (launch.only_block >= 0 && block_number != launch.only_block) continue;
        emulated_block.index = index_of_block(block_number);
        TELL_THREAD_SANITIZER(warps = std::vector<Warp>(warps.size());)  // new memory for each block, too
        run_block(random);
        free_shared_memory();
    }
}

// As many as a block has.  Those of the launch before, with their stacks, serve again.
static void make_threads() {
    const unsigned* size = launch.block;
    size_t count = size[0] * size[1] * size[2];
    for (size_t i = count; i < threads.size(); ++i) free_stack(threads[i].fiber);
    threads.resize(count);
    for (unsigned i = 0; i < count; ++i)
        threads[i].identity = {{i % size[0], i / size[0] % size[1], i / size[0] / size[1]}, i};
    warps.resize((count + 31) / 32);
    memset((void*)warps.data(), 0xff, warps.size() * sizeof(Warp));
}

#include "fault.h"

// ---- what Python calls ----

// Returns what went wrong; an empty text if nothing did.
extern "C" const char* emulator_launch(const Launch* described) {
    launch = *described;
    problem.clear(), printed.clear(), turns.clear();
    emulated_block.grid = {launch.grid[0], launch.grid[1], launch.grid[2]};
    emulated_block.size = {launch.block[0], launch.block[1], launch.block[2]};
    TellSanitizer tell;
    make_threads();
    for (const Array* array = launch.arrays; array < launch.arrays + launch.array_count; ++array)
        watch_accesses(array->begin, array->end - array->begin, array->element, array->name, false);
    run_catching_faults(run_blocks);
    free_shared_memory();
    forget_all_arrays();
    return problem.c_str();
}

extern "C" const char* emulator_printed() { return printed.c_str(); }

extern "C" const Turn* emulator_turns(size_t* count) {
    *count = turns.size();
    return turns.data();
}
