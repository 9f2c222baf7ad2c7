// What ThreadSanitizer must be told to see CUDA's threads in fibers: barriers order accesses, the emulator's own
// accesses do not count.  Fibers live until a launch ends, so that races between blocks show.  Empty in other builds.
#pragma once

#ifdef UNDER_THREAD_SANITIZER
static char end_of_launch;
static std::vector<void*> fibers_to_destroy;
static std::vector<uint64_t> barriers;  // addresses to synchronise on: two for each block, and for each of its warps

#define ORDER_BEFORE(barrier) __tsan_release(barrier)
#define ORDER_AFTER(barrier) __tsan_acquire(barrier)

static void* barrier_number(unsigned which, unsigned phase) {
    return &barriers[2 * (block_number * (warps.size() + 1) + which) + phase % 2];
}
static void* barrier_of_block(unsigned phase) { return barrier_number(0, phase); }
static void* barrier_of_warp(unsigned phase) { return barrier_number(1 + running->identity.number / 32, phase); }
static void prepare_barriers(size_t blocks) { barriers.assign(2 * blocks * (warps.size() + 1), 0); }
static void destroy_after_launch(const Fiber& fiber) { fibers_to_destroy.push_back(fiber.known_as); }

struct IgnoreAccesses {
    IgnoreAccesses() { AnnotateIgnoreReadsBegin("", 0), AnnotateIgnoreWritesBegin("", 0); }
    ~IgnoreAccesses() { AnnotateIgnoreReadsEnd("", 0), AnnotateIgnoreWritesEnd("", 0); }
};

struct TellSanitizer {  // from the beginning of a launch to its end
    IgnoreAccesses ignore;
    TellSanitizer() { scheduler_fiber.known_as = __tsan_get_current_fiber(); }
    ~TellSanitizer() {
        ORDER_AFTER(&end_of_launch);
        for (void* fiber : fibers_to_destroy) __tsan_destroy_fiber(fiber);
        fibers_to_destroy.clear();
    }
};
#else
#define ORDER_BEFORE(barrier)
#define ORDER_AFTER(barrier)
static void* barrier_of_block(unsigned) { return nullptr; }
static void* barrier_of_warp(unsigned) { return nullptr; }
static void prepare_barriers(size_t) {}
static void destroy_after_launch(const Fiber&) {}
struct IgnoreAccesses { IgnoreAccesses() {} };
struct TellSanitizer { TellSanitizer() {} };
#endif
