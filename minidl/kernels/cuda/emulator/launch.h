// What the scheduler knows of a launch, and of each thread of the block that runs.
#pragma once

// As Python describes it; launching.py has the same fields, as for the two structs below.
struct Array { const char *begin, *end; ElementSize element; const char* name; };
struct Launch {
    void (*call)(void** arguments);
    void** arguments;
    unsigned grid[3], block[3];
    size_t dynamic_shared_bytes;
    unsigned order;                // of threads: 0 forward, 1 reverse, else the seed of a random order
    long only_block, only_thread;  // the number of the one to run; -1: all
    int watched;                   // keep a record of turns
    const char *module_begin, *module_end;  // where the compiled kernel lies
    int checked;                            // it is a checked build, and this is what the kernel was given
    const Array* arrays;
    size_t array_count;
};

// A thread ran until here.
struct Turn { unsigned block, thread, phase; int line; const char *operation, *file; };

enum State { READY, AT_BLOCK_BARRIER, AT_WARP_BARRIER, ENDED };
struct Copy { void* to; const void* from; unsigned size; bool inside; const void* caller; };

// What every turn of a thread needs comes first, in one line of the cache.
struct alignas(64) Thread {
    State state;
    unsigned mask;          // the lanes that must come to the warp barrier at which it waits
    const char* operation;  // what it waits at, and where
    Place place;
    unsigned phase;  // how many barriers of the block it has passed
    Identity identity;
    Fiber fiber;
    unsigned warp_phase;     // how many barriers of its warp it has passed, of any kind
    unsigned syncs_of_warp;  // how many __syncwarp(), the only kind that orders accesses to memory
    unsigned exchanges;      // how many values it has handed out
    std::vector<Copy> open_group;
    std::vector<std::vector<Copy>> groups;  // background copies under way
};

struct Warp {
    uint64_t handed_out[2][32][2];  // 16 bytes a lane, twice: the next exchange may begin before all have taken theirs
    float scratch[512];
};

struct SharedArray { char* memory; size_t size; };

extern "C" {
Identity emulated_thread;
emulator::Block emulated_block;
}
static Launch launch;
static std::vector<Thread> threads;
static std::vector<Warp> warps;
static std::vector<Thread*> order;  // in which threads run until the next barrier
static size_t position;             // in it: whose turn is next
static Thread* running;             // null while the scheduler itself runs
static unsigned block_number;
static std::map<const void*, SharedArray> shared_arrays;  // of this block, by their declaration
static char* dynamic_memory;
static std::string problem, printed;
static std::vector<Turn> turns;

// The next thread in order that is ready runs; when there is none, the scheduler.
static Fiber& next_fiber() {
    while (position < order.size()) {
        Thread* thread = order[position++];
        if (thread->state != READY) continue;
        running = thread;
        emulated_thread = thread->identity;
        return thread->fiber;
    }
    running = nullptr;
    return scheduler_fiber;
}

// The running thread's turn ends here.
static void leave(State state) {
    Thread* thread = running;
    thread->state = state;
    if (launch.watched)
        turns.push_back({block_number, thread->identity.number, thread->phase, thread->place.line, thread->operation,
                         thread->place.file});
    switch_fibers(thread->fiber, next_fiber());
}

// Ends the launch: the thread that found the problem never goes on.
static void give_up(const std::string& what) {
    problem = what;
    position = order.size();
    leave(ENDED);
}

// An instruction of the kernel, from the module's beginning; Python puts file and line here.
static std::string text_of_line(uint32_t line) {
    char text[32];
    snprintf(text, sizeof text, "<line at %x>", line);
    return text;
}

static uint3 index_of_block(unsigned number) {
    const unsigned* grid = launch.grid;
    return {number % grid[0], number / grid[0] % grid[1], number / grid[0] / grid[1]};
}

static std::string text_of(Place place) { return std::string(place.file) + ":" + std::to_string(place.line); }

static std::string text_of(const uint3& index) {
    return "(" + std::to_string(index.x) + ", " + std::to_string(index.y) + ", " + std::to_string(index.z) + ")";
}

static std::string who(const Thread& thread) {
    return "thread " + text_of(thread.identity.index) + " of block " + text_of(emulated_block.index);
}
