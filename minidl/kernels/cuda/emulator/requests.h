// What a kernel calls (declared in emulated_threads.h): barriers, exchange in a warp, shared memory, copies, printf.
#pragma once

static void wait_at(State state, const char* operation, unsigned mask, Place place, void* barrier) {
    Thread* thread = running;
    thread->operation = operation, thread->mask = mask, thread->place = place;
    ORDER_BEFORE(barrier);
    leave(state);
    ORDER_AFTER(barrier);
}

extern "C" void emulator_wait_for_block(Place place) {
    wait_at(AT_BLOCK_BARRIER, "__syncthreads", ~0u, place, barrier_of_block(running->phase));
    ++running->phase;
}

extern "C" void emulator_wait_for_warp(unsigned mask, const char* operation, Place place) {
    wait_at(AT_WARP_BARRIER, operation, mask, place, barrier_of_warp(running->warp_phase));
    ++running->warp_phase;
}

extern "C" void emulator_sync_warp(unsigned mask, Place place) {
    emulator_wait_for_warp(mask, "__syncwarp", place);
    ++running->syncs_of_warp;
}

extern "C" void emulator_hand_out(const void* value, unsigned size, unsigned mask, const char* operation, Place place) {
    unsigned number = running->identity.number;
    memcpy(warps[number / 32].handed_out[running->exchanges++ % 2][number % 32], value, size);
    emulator_wait_for_warp(mask, operation, place);
}

extern "C" void emulator_take(void* value, unsigned size, int lane) {
    memcpy(value, warps[running->identity.number / 32].handed_out[(running->exchanges - 1) % 2][lane], size);
}

extern "C" float* emulator_warp_scratch() { return warps[running->identity.number / 32].scratch; }

static char* new_shared_memory(size_t size) {
    size_t rounded = (size + 127) / 128 * 128;  // aligned_alloc wants whole multiples of the alignment
    char* memory = (char*)aligned_alloc(128, rounded);
    memset(memory, 0xff, rounded);  // as floating-point numbers: NaN, so that reading before writing shows
    return memory;
}

extern "C" void* emulator_shared(const void* declaration, size_t size, ElementSize element, const char* name) {
    IgnoreAccesses ignore;
    SharedArray& array = shared_arrays[declaration];
    if (array.memory) return array.memory;
    array = {new_shared_memory(size), size};
    size_t all = 0;
    for (auto& each : shared_arrays) all += each.second.size;
    if (all > 48 * 1024) give_up("its __shared__ arrays take " + std::to_string(all) + " bytes, more than 48 KB");
    watch_accesses(array.memory, size, element, name, true);
    return array.memory;
}

extern "C" void* emulator_dynamic_shared(ElementSize element, const char* name) {
    IgnoreAccesses ignore;
    if (!dynamic_memory) {
        dynamic_memory = new_shared_memory(launch.dynamic_shared_bytes);
        watch_accesses(dynamic_memory, launch.dynamic_shared_bytes, element, name, true);
    }
    return dynamic_memory;
}

extern "C" void emulator_copy_later(void* to, const void* from, unsigned size, bool inside, const void* caller) {
    if (inside) check_access((const char*)from, size, READ, caller);
    check_access((const char*)to, size, WRITE_LATER, caller);
    IgnoreAccesses ignore;
    running->open_group.push_back({to, from, size, inside, caller});
}

extern "C" void emulator_end_copy_group() {
    IgnoreAccesses ignore;
    running->groups.push_back(running->open_group);
    running->open_group.clear();
}

static void copy_now(const Copy& copy) {
    if (copy.inside) check_access((const char*)copy.from, copy.size, READ, copy.caller);
    check_access((const char*)copy.to, copy.size, WRITE, copy.caller);
    if (copy.inside)
        memcpy(copy.to, copy.from, copy.size);
    else
        memset(copy.to, 0, copy.size);
}

extern "C" void emulator_wait_for_copies(int groups_left) {
    auto& groups = running->groups;
    while ((int)groups.size() > groups_left) {
        for (const Copy& copy : groups[0]) copy_now(copy);
        IgnoreAccesses ignore;
        groups.erase(groups.begin());
    }
}

// What is printed is kept until the launch ends, as a GPU keeps it in a buffer.
extern "C" int emulator_printf(const char* format, ...) {
    IgnoreAccesses ignore;
    char text[1024];
    va_list values;
    va_start(values, format);
    int length = vsnprintf(text, sizeof text, format, values);
    va_end(values);
    printed += text;
    return length;
}
