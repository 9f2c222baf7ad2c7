// Checked builds: every access to memory is looked at before it is made.
//
// g++ -fsanitize=thread puts a call such as __tsan_read4(address) before each access.  ThreadSanitizer's library would
// answer these calls; here they are answered by the emulator, which knows more about CUDA: how long each array is, what
// threads a barrier has ordered, that shared memory holds nothing at first.  The address that such a call returns to
// tells the kernel's line (launching.py asks addr2line, which comes with g++).
#pragma once

// Who used a number last, and at which point between barriers.
struct Record {
    uint32_t thread;           // its number in the whole launch, plus 1; 0: nobody
    uint32_t phase;            // barriers of the block before
    uint32_t warp_phase : 31;  // __syncwarp() before
    uint32_t atomic : 1;
    uint32_t line;  // the return address, from the module's beginning
};
struct History { Record write, read, other_read; };  // the last reader, and the last before it that was another thread
struct CheckedArray {
    const char *begin, *end;
    ElementSize element;
    std::string name;
    bool shared;
    History* histories;  // one for each unit
};
static std::vector<CheckedArray> checked_arrays;

static void watch_accesses(const char* begin, size_t size, ElementSize element, const char* name, bool shared) {
    if (!launch.checked) return;
    History* histories = (History*)calloc(size / element.unit + 1, sizeof(History));  // no record: thread 0
    checked_arrays.push_back({begin, begin + size, element, name, shared, histories});
}

static void forget_arrays_from(size_t first) {
    for (size_t i = first; i < checked_arrays.size(); ++i) free(checked_arrays[i].histories);
    checked_arrays.resize(std::min(first, checked_arrays.size()));
}
static void forget_shared_arrays() { forget_arrays_from(launch.array_count); }
static void forget_all_arrays() { forget_arrays_from(0); }

// ---- what a report says ----

static std::string verb(Access access) {
    return access == READ ? "reads" : access == ATOMIC ? "atomically changes" : "writes";
}

static std::string element_name(const CheckedArray& array, const char* address) {
    ptrdiff_t offset = address - array.begin, size = array.element.all;
    ptrdiff_t index = (offset >= 0 ? offset : offset - size + 1) / size, rest = offset - index * size;
    std::string within = rest ? " (byte " + std::to_string(rest) + ")" : "";
    return array.name + "[" + std::to_string(index) + "]" + within;
}

static std::string who(const Record& record) {
    unsigned number = (record.thread - 1) % threads.size(), block = (record.thread - 1) / threads.size();
    return "thread " + text_of(threads[number].identity.index) + " of block " + text_of(index_of_block(block));
}

static void report_misaligned(const CheckedArray& array, const char* address, size_t size, Access access,
                              uint32_t line) {
    give_up(text_of_line(line) + ": " + verb(access) + " " + std::to_string(size) + " bytes at once from " +
            element_name(array, address) + " on, which does not lie at a multiple of that (" + who(*running) + ")");
}

static void report_outside(const CheckedArray& array, const char* address, Access access, uint32_t line) {
    size_t count = (array.end - array.begin) / array.element.all;
    give_up(text_of_line(line) + ": " + verb(access) + " " + element_name(array, address) + ", but " + array.name +
            " has " + std::to_string(count) + " elements (" + who(*running) + ")");
}

static void report_race(const std::string& access, const Record& other, Access its) {
    give_up(access + " (" + who(*running) + ") that " + who(other) + " " + verb(its) + " in " +
            text_of_line(other.line) + ", with no barrier between them");
}

// ---- the checks ----

// Whether something orders an earlier access before what the running thread does: that it was its own, or a barrier.
static bool is_ordered(const Record& before) {
    uint32_t block = (before.thread - 1) / threads.size(), number = (before.thread - 1) % threads.size();
    if (block != block_number) return false;
    if (number == running->identity.number || before.phase != running->phase) return true;
    return number / 32 == running->identity.number / 32 && before.warp_phase != running->syncs_of_warp;
}

static void check_history(const CheckedArray& array, History& history, const char* address, Access access,
                          uint32_t line) {
    auto races_with = [=](const Record& other) {
        return other.thread && !(other.atomic && access == ATOMIC) && !is_ordered(other);
    };
    auto what = [&] { return text_of_line(line) + ": " + verb(access) + " " + element_name(array, address); };
    if (races_with(history.write)) report_race(what(), history.write, history.write.atomic ? ATOMIC : WRITE);
    if (access != READ)
        for (const Record& reader : {history.read, history.other_read})
            if (races_with(reader)) report_race(what(), reader, READ);
    if ((access == READ || access == ATOMIC) && array.shared && !history.write.thread)
        give_up(what() + " before any thread has written it (" + who(*running) + ")");

    uint32_t thread = block_number * threads.size() + running->identity.number + 1;
    Record now = {thread, running->phase, running->syncs_of_warp, access == ATOMIC, line};
    if (access == READ) {
        if (history.read.thread != thread) history.other_read = history.read;
        history.read = now;
    } else if (access != WRITE_LATER)
        history.write = now;
}

extern "C" {
extern char __ehdr_start __attribute__((visibility("hidden"))), _end __attribute__((visibility("hidden")));
}

// Local variables, constants of the kernel's module, threadIdx and the like are not looked at.
static bool is_private(const char* address) {
    const char* stack = running->fiber.stack;
    return (address >= stack && address < stack + STACK_BYTES) ||
           (address >= launch.module_begin && address < launch.module_end) ||
           (address >= &__ehdr_start && address < &_end);
}

static const CheckedArray& nearest_array(const char* address) {
    auto distance = [=](const CheckedArray& array) {
        return address < array.begin ? array.begin - address : address - array.end;
    };
    return *std::min_element(checked_arrays.begin(), checked_arrays.end(),
                             [=](auto& a, auto& b) { return distance(a) < distance(b); });
}

static void check_access(const char* address, size_t size, Access access, const void* caller, bool aligned = true) {
    if (!launch.checked || !running || is_private(address)) return;
    uint32_t line = (const char*)caller - launch.module_begin - 1;  // the call itself, not what follows it
    for (const CheckedArray& array : checked_arrays) {
        if (address < array.begin || address >= array.end) continue;
        if (address + size > array.end) report_outside(array, array.end, access, line);
        if (aligned && uintptr_t(address) % size) report_misaligned(array, address, size, access, line);
        size_t unit = array.element.unit, end = address + size - array.begin;
        for (size_t offset = (address - array.begin) / unit * unit; offset < end; offset += unit)
            check_history(array, array.histories[offset / unit], array.begin + offset, access, line);
        return;
    }
    if (checked_arrays.empty()) give_up(text_of_line(line) + ": " + verb(access) + " memory, but was given no array");
    report_outside(nearest_array(address), address, access, line);
}

extern "C" void emulator_touch(const void* address, size_t size, Access access, const void* caller) {
    check_access((const char*)address, size, access, caller);
}

// ---- the calls that g++ puts in ----

#ifndef UNDER_THREAD_SANITIZER
#define ANSWER(name, size, access, aligned)                                        \
    extern "C" void __tsan_##name(const char* address) {                           \
        check_access(address, size, access, __builtin_return_address(0), aligned); \
    }
#define ANSWER_ALL_OF_SIZE(size)                    \
    ANSWER(read##size, size, READ, true)            \
    ANSWER(write##size, size, WRITE, true)          \
    ANSWER(unaligned_read##size, size, READ, false) \
    ANSWER(unaligned_write##size, size, WRITE, false)

ANSWER_ALL_OF_SIZE(1)
ANSWER_ALL_OF_SIZE(2)
ANSWER_ALL_OF_SIZE(4)
ANSWER_ALL_OF_SIZE(8)
ANSWER_ALL_OF_SIZE(16)
extern "C" void __tsan_read_range(const char* address, size_t size) {
    check_access(address, size, READ, __builtin_return_address(0), false);
}
extern "C" void __tsan_write_range(const char* address, size_t size) {
    check_access(address, size, WRITE, __builtin_return_address(0), false);
}
extern "C" void __tsan_init() {}
extern "C" void __tsan_func_entry(void*) {}
extern "C" void __tsan_func_exit() {}
#endif
