// How Python calls a kernel: through two C functions a kernel, one that describes its parameters, one that calls it.
#pragma once

namespace emulator {
// A parameter's type as NumPy writes it: f4, i4, u2, ?1, V24 (a struct of 24 bytes); *f4 for a pointer to such.
template <class T>
void describe(char*& text) {
    if constexpr (std::is_pointer_v<T>) {
        *text++ = '*';
        describe<std::remove_cv_t<std::remove_pointer_t<T>>>(text);
    } else {
        if (std::is_same_v<T, bool>) *text++ = '?';
        else if (std::is_floating_point_v<T> || std::is_same_v<T, emulated_half>) *text++ = 'f';
        else *text++ = !std::is_integral_v<T> ? 'V' : std::is_signed_v<T> ? 'i' : 'u';
        int size = sizeof(T);
        for (int digit = 1000; digit; digit /= 10)
            if (size >= digit) *text++ = '0' + size / digit % 10;
        *text++ = ',';
    }
}

template <class... Types>
const char* signature(char* text, void (*)(Types...)) {
    char* end = text;
    (describe<Types>(end), ...);
    *end = 0;
    return text;
}

template <class... Types, int... places>
EMULATED_INSTRUCTION void call(void (*kernel)(Types...), void** arguments, std::integer_sequence<int, places...>) {
    kernel(*(Types*)arguments[places]...);
}

template <class... Types>
void call(void (*kernel)(Types...), void** arguments) {
    call(kernel, arguments, std::make_integer_sequence<int, sizeof...(Types)>{});
}
}  // namespace emulator

#define EMULATED_KERNEL(kernel)                                    \
    extern "C" const char* kernel##_signature() {                  \
        static char text[2048];                                    \
        return emulator::signature(text, kernel);                  \
    }                                                              \
    extern "C" void kernel##_call(void** arguments) { emulator::call(kernel, arguments); }

// Where this module lies in memory: the linker defines both names.
extern "C" {
extern char __ehdr_start __attribute__((visibility("hidden"))), _end __attribute__((visibility("hidden")));
void emulator_module_bounds(const char** begin, const char** end) { *begin = &__ehdr_start, *end = &_end; }
}
