// A fiber: code with a stack of its own, that runs until it hands control back, and later goes on where it was.  One
// for each thread of a CUDA block; all of them share one thread of the CPU.
#pragma once
#include <sys/mman.h>

#if !defined(__x86_64__) || defined(FIBERS_FROM_UCONTEXT)
#define USE_UCONTEXT
#include <ucontext.h>
#endif

// ThreadSanitizer must be told of fibers, and of what orders one thread's memory accesses before another's.
#ifdef UNDER_THREAD_SANITIZER
extern "C" {
void* __tsan_create_fiber(unsigned);
void* __tsan_get_current_fiber();
void __tsan_destroy_fiber(void*);
void __tsan_switch_to_fiber(void*, unsigned);
void __tsan_acquire(void*);
void __tsan_release(void*);
void AnnotateIgnoreReadsBegin(const char*, int);
void AnnotateIgnoreReadsEnd(const char*, int);
void AnnotateIgnoreWritesBegin(const char*, int);
void AnnotateIgnoreWritesEnd(const char*, int);
}
#define TELL_THREAD_SANITIZER(...) __VA_ARGS__
#else
#define TELL_THREAD_SANITIZER(...)
#endif

// AddressSanitizer does not know that a fiber which has ended leaves nothing on its stack.
#ifdef UNDER_ADDRESS_SANITIZER
extern "C" void __asan_unpoison_memory_region(const volatile void* address, size_t size);
#define TELL_ADDRESS_SANITIZER(...) __VA_ARGS__
#else
#define TELL_ADDRESS_SANITIZER(...)
#endif

struct Fiber {
#ifdef USE_UCONTEXT
    ucontext_t context;
#else
    void* top;  // of the stack, while the fiber does not run
#endif
    char* stack = nullptr;
    size_t offset;  // of its first byte in use from the upper end
    void* known_as = nullptr;  // to ThreadSanitizer
};

// The memory of a stack costs nothing until it is touched.  Below it lies some that must not be: a kernel with too
// large local arrays fails there instead of overwriting others' memory.
#ifdef UNDER_THREAD_SANITIZER
constexpr size_t STACK_BYTES = 64 * 1024;  // it keeps books of four times as much memory
#else
constexpr size_t STACK_BYTES = 256 * 1024;
#endif
constexpr size_t GUARD_BYTES = 64 * 1024;

static Fiber scheduler_fiber;  // the code that runs the others; it uses the stack it was called on

#ifdef USE_UCONTEXT
static void switch_fibers(Fiber& from, Fiber& to) {
    TELL_THREAD_SANITIZER(__tsan_switch_to_fiber(to.known_as, 1);)
    swapcontext(&from.context, &to.context);
}
#else
// Saves the six registers that a called function must keep (System V ABI, x86-64) and the top of the stack; takes over
// the other's.  A dozen instructions, where swapcontext calls the operating system.
extern "C" void switch_stacks(void** save_top, void* other_top);
asm(".text\n.globl switch_stacks\n.hidden switch_stacks\n.type switch_stacks,@function\n"
    "switch_stacks:\n"
    "pushq %rbp\npushq %rbx\npushq %r12\npushq %r13\npushq %r14\npushq %r15\n"
    "movq %rsp, (%rdi)\n"
    "movq %rsi, %rsp\n"
    "popq %r15\npopq %r14\npopq %r13\npopq %r12\npopq %rbx\npopq %rbp\n"
    "ret\n"
    ".size switch_stacks, .-switch_stacks\n");

static void switch_fibers(Fiber& from, Fiber& to) {
    TELL_THREAD_SANITIZER(__tsan_switch_to_fiber(to.known_as, 1);)
    switch_stacks(&from.top, to.top);
}
#endif

static void free_stack(Fiber& fiber) {
    if (fiber.stack) munmap(fiber.stack - GUARD_BYTES, GUARD_BYTES + STACK_BYTES);
    fiber.stack = nullptr;
}

// Makes the fiber ready to run entry() from its beginning.  False if there is no memory for its stack.
static bool prepare_fiber(Fiber& fiber, void (*entry)()) {
    TELL_THREAD_SANITIZER(free_stack(fiber);)  // new memory, so that it forgets the last block's accesses
    if (!fiber.stack) {
        void* memory = mmap(nullptr, GUARD_BYTES + STACK_BYTES, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (memory == MAP_FAILED) return false;
        mprotect(memory, GUARD_BYTES, PROT_NONE);
        fiber.stack = (char*)memory + GUARD_BYTES;
        static unsigned made;
        fiber.offset = made++ % 64 * 64;  // else all tops of stacks would compete for the same lines of the cache
    }
    TELL_ADDRESS_SANITIZER(__asan_unpoison_memory_region(fiber.stack, STACK_BYTES);)
#ifdef USE_UCONTEXT
    getcontext(&fiber.context);
    fiber.context.uc_stack.ss_sp = fiber.stack;
    fiber.context.uc_stack.ss_size = STACK_BYTES - fiber.offset;
    fiber.context.uc_link = nullptr;
    makecontext(&fiber.context, entry, 0);
#else
    void** top = (void**)(fiber.stack + STACK_BYTES - fiber.offset);
    *--top = nullptr;  // keeps the stack aligned as if entry() had been called
    *--top = (void*)entry;  // where switch_stacks "returns" to
    for (int saved_register = 0; saved_register < 6; ++saved_register) *--top = nullptr;
    fiber.top = top;
#endif
    TELL_THREAD_SANITIZER(fiber.known_as = __tsan_create_fiber(0);)
    return true;
}
