// Half precision (IEEE 754 binary16): 1 sign bit, 5 exponent bits (bias 15), 10 bits of fraction; made of integers,
// because not every g++ has a type for it.  A number is stored in 16 bits and computed with as a float.
#pragma once

namespace emulator {
inline uint32_t bits_of(float value) {
    uint32_t bits;
    memcpy(&bits, &value, 4);
    return bits;
}

inline float float_of(uint32_t bits) {
    float value;
    memcpy(&value, &bits, 4);
    return value;
}

// Rounds to nearest, ties to the even fraction, as the GPU's cvt.rn.f16.f32 does (PTX ISA, "cvt").
inline uint16_t half_of(float value) {
    uint32_t sign = bits_of(value) >> 16 & 0x8000;
    uint32_t magnitude = bits_of(value) & 0x7fffffff;
    if (magnitude > 0x7f800000) return 0x7fff;         // not a number
    if (magnitude >= 0x477ff000) return sign | 0x7c00;  // from 65520 on, halfway above the largest half: infinity
    if (magnitude < 0x38800000)  // below 2^-14 halves are multiples of 2^-24, and so are floats from 0.5 to 1
        return sign | (bits_of(float_of(magnitude) + 0.5f) - bits_of(0.5f));
    uint32_t last_kept_bit = magnitude >> 13 & 1;
    uint32_t rounded = (magnitude + 0xfff + last_kept_bit) >> 13;  // a carry runs on into the exponent, rightly
    return sign | (rounded - ((127 - 15) << 10));
}

// Exact: every half is a float.
inline float float_of_half(uint16_t half) {
    uint32_t sign = uint32_t(half & 0x8000) << 16;
    uint32_t magnitude = uint32_t(half & 0x7fff) << 13;
    if (magnitude >= 0x0f800000) return float_of(sign | magnitude | 0x7f800000);  // infinite, or not a number
    float value = float_of(magnitude) * 0x1p112f;  // 2^(127 - 15) turns one bias into the other, for subnormals too
    return float_of(sign | bits_of(value));
}
}  // namespace emulator

struct emulated_half {
    uint16_t bits;
    emulated_half() = default;
    __attribute__((always_inline)) emulated_half(float value) : bits(emulator::half_of(value)) {}
    __attribute__((always_inline)) operator float() const { return emulator::float_of_half(bits); }
};
