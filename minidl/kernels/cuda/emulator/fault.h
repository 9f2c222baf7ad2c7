// A kernel that touches memory which is nobody's would end the whole Python process.  While kernels run, such a fault
// ends only the launch.  A sanitizer has handlers of its own, which say more.
#pragma once

#ifdef UNDER_SANITIZER
static void run_catching_faults(void (*run)()) { run(); }
#else
#include <pthread.h>
#include <ucontext.h>

static sigjmp_buf before_the_fault;
static struct sigaction old_actions[2];
static pthread_t launching_thread;  // of the CPU's

// The line of the kernel that was at fault, where it can be told; ended by a colon.
static std::string line_at_fault(void* context) {
    (void)context;
#if defined(__x86_64__) && defined(__linux__)
    const char* instruction = (const char*)((ucontext_t*)context)->uc_mcontext.gregs[REG_RIP];
    if (instruction >= launch.module_begin && instruction < launch.module_end)
        return text_of_line(instruction - launch.module_begin) + ": ";
#endif
    return "";
}

static void on_fault(int signal_number, siginfo_t* fault, void* context) {
    if (!running || !pthread_equal(pthread_self(), launching_thread)) {
        // Not a kernel's: let the old handler see it when the instruction is tried again
        sigaction(signal_number, &old_actions[signal_number == SIGBUS], nullptr);
        return;
    }
    const char* address = (const char*)fault->si_addr;
    const char* stack = running->fiber.stack;
    bool below_stack = address >= stack - GUARD_BYTES && address < stack;
    problem = line_at_fault(context) +
              (below_stack ? "the local variables do not fit into the emulator's stack of 256 KB ("
                           : "touches memory outside of every array, or several numbers that are not aligned (") +
              who(*running) + ")" + (below_stack ? "" : "; emulator.checking() says more");
    running = nullptr;
    siglongjmp(before_the_fault, 1);
}

static void run_catching_faults(void (*run)()) {
    static char handler_stack[64 * 1024];  // the kernel's own may be full
    launching_thread = pthread_self();
    stack_t own = {}, old;
    own.ss_sp = handler_stack, own.ss_size = sizeof handler_stack;
    sigaltstack(&own, &old);
    struct sigaction action = {};
    action.sa_sigaction = on_fault;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    sigaction(SIGSEGV, &action, &old_actions[0]);
    sigaction(SIGBUS, &action, &old_actions[1]);
    if (!sigsetjmp(before_the_fault, 1)) run();
    sigaction(SIGSEGV, &old_actions[0], nullptr);
    sigaction(SIGBUS, &old_actions[1], nullptr);
    sigaltstack(&old, nullptr);
}
#endif
