// Atomic read-modify-write, which returns the old value (CUDA C++ Programming Guide, "Atomic Functions").  Real atomic
// instructions, though threads only take turns: ThreadSanitizer tells them from a plain +=, which is a bug.
#pragma once

namespace emulator {
template <class T, class Operation>
EMULATED_INSTRUCTION T read_modify_write(T* address, Operation operation) {
    T old, changed;
    __atomic_load(address, &old, __ATOMIC_RELAXED);
    do changed = operation(old);
    while (!__atomic_compare_exchange(address, &old, &changed, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
    return old;
}
template <class T>
struct Same { typedef T type; };  // keeps the compiler from deducing T from the second argument
}  // namespace emulator

#define EMULATED_ATOMIC(name, result)                                                            \
    template <class T>                                                                            \
    EMULATED_INSTRUCTION T name(T* address, typename emulator::Same<T>::type value) {             \
        EMULATED_TOUCH(address, sizeof(T), ATOMIC);                                               \
        return emulator::read_modify_write(address, [=](T old) -> T { return result; });          \
    }

EMULATED_ATOMIC(atomicAdd, old + value)
EMULATED_ATOMIC(atomicSub, old - value)
EMULATED_ATOMIC(atomicMax, old > value ? old : value)
EMULATED_ATOMIC(atomicMin, old < value ? old : value)
EMULATED_ATOMIC(atomicOr, old | value)
EMULATED_ATOMIC(atomicAnd, old & value)
EMULATED_ATOMIC(atomicExch, value)

template <class T>
EMULATED_INSTRUCTION T atomicCAS(T* address, typename emulator::Same<T>::type expected,
                                 typename emulator::Same<T>::type value) {
    EMULATED_TOUCH(address, sizeof(T), ATOMIC);
    return emulator::read_modify_write(address, [=](T old) { return old == expected ? value : old; });
}
