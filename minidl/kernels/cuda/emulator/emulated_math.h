// Functions of numbers that CUDA has and C++ has not.  The others (exp, log1p, fmaf, isnan ...), for float and double
// alike, come from <math.h>.
#pragma once

template <class A, class B>
std::common_type_t<A, B> max(A a, B b) {
    std::common_type_t<A, B> left = a, right = b;
    return left > right ? left : right;
}
template <class A, class B>
std::common_type_t<A, B> min(A a, B b) {
    std::common_type_t<A, B> left = a, right = b;
    return left < right ? left : right;
}

inline float rsqrtf(float x) { return 1 / sqrtf(x); }
inline float rsqrt(float x) { return 1 / sqrtf(x); }
inline double rsqrt(double x) { return 1 / sqrt(x); }
// A GPU has quick versions with fewer right digits; here they are the ordinary functions.
inline float __expf(float x) { return expf(x); }
inline float __logf(float x) { return logf(x); }
inline float __powf(float x, float y) { return powf(x, y); }
inline float __fdividef(float x, float y) { return x / y; }
inline float __saturatef(float x) { return x > 0 ? (x < 1 ? x : 1) : 0; }  // NaN becomes 0

inline unsigned __float_as_uint(float x) { return emulator::bits_of(x); }
inline int __float_as_int(float x) { return int(emulator::bits_of(x)); }
inline float __uint_as_float(unsigned bits) { return emulator::float_of(bits); }
inline float __int_as_float(int bits) { return emulator::float_of(unsigned(bits)); }
inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __clz(int x) { return x ? __builtin_clz(x) : 32; }
inline int __ffs(int x) { return __builtin_ffs(x); }

template <class T>
__attribute__((always_inline)) inline T __ldg(const T* address) { return *address; }
inline size_t __cvta_generic_to_shared(const void* address) { return size_t(address); }
