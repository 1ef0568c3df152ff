// Vectors of floats in plain C++, for processors that have no header of their own here; compilers vectorize them. They
// are of eight, or of as many as TF_PLAIN_LANES says: four, where more would not stay in registers.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#if !defined(TF_PLAIN_LANES)
#define TF_PLAIN_LANES 8
#endif

namespace {

template <int COUNT>
struct PlainLanes {
    static_assert(COUNT == 4 || COUNT == 8, "`sum` has an order for these");
    static constexpr int count = COUNT;
    float at[count];

    static inline PlainLanes all(float value) {
        PlainLanes y;
        for (int i = 0; i < count; ++i) y.at[i] = value;
        return y;
    }
    static inline PlainLanes load(const float* from) {
        PlainLanes y;
        std::memcpy(y.at, from, sizeof y.at);
        return y;
    }
    inline void store(float* to) const { std::memcpy(to, at, sizeof at); }

    static inline float of_bf16(uint16_t bits) {
        const uint32_t wide = static_cast<uint32_t>(bits) << 16;
        float y;
        std::memcpy(&y, &wide, sizeof y);
        return y;
    }
    static inline float of_fp16(uint16_t bits) {
        const uint32_t sign = static_cast<uint32_t>(bits & 0x8000) << 16;
        const int exponent = (bits >> 10) & 31;
        const uint32_t mantissa = bits & 0x3ff;
        uint32_t wide = sign;
        if (exponent == 31) {
            wide |= 0x7f800000u | (mantissa << 13);
        } else if (exponent) {
            wide |= (static_cast<uint32_t>(exponent + 112) << 23) | (mantissa << 13);
        } else if (mantissa) {
            const float small = static_cast<float>(mantissa) * 0x1p-24f;
            return sign ? -small : small;
        }
        float y;
        std::memcpy(&y, &wide, sizeof y);
        return y;
    }
    static inline PlainLanes load_bf16(const uint16_t* from) {
        PlainLanes y;
        for (int i = 0; i < count; ++i) y.at[i] = of_bf16(from[i]);
        return y;
    }
    static inline PlainLanes load_fp16(const uint16_t* from) {
        PlainLanes y;
        for (int i = 0; i < count; ++i) y.at[i] = of_fp16(from[i]);
        return y;
    }
    static inline PlainLanes load_int8(const int8_t* from) {
        PlainLanes y;
        for (int i = 0; i < count; ++i) y.at[i] = static_cast<float>(from[i]);
        return y;
    }
    // Every second one of sixteen numbers in bfloat16, from the first or the second on.
    static inline PlainLanes load_even_bf16(const uint16_t* from) {
        PlainLanes y;
        for (int i = 0; i < count; ++i) y.at[i] = of_bf16(from[2 * i]);
        return y;
    }
    static inline PlainLanes load_odd_bf16(const uint16_t* from) {
        PlainLanes y;
        for (int i = 0; i < count; ++i) y.at[i] = of_bf16(from[2 * i + 1]);
        return y;
    }
    // this * factor + plus, rounded as the processor does it: with or without a rounding in between.
    inline PlainLanes times_plus(PlainLanes factor, PlainLanes plus) const {
        PlainLanes y;
        for (int i = 0; i < count; ++i) y.at[i] = one_times_plus(at[i], factor.at[i], plus.at[i]);
        return y;
    }
    static inline float one_times_plus(float x, float factor, float plus) {
#ifdef FP_FAST_FMAF
        return std::fma(x, factor, plus);
#else
        return x * factor + plus;
#endif
    }
    // Where one of the two is not a number, the result of `larger` and `smaller` is this one.
    inline PlainLanes larger(PlainLanes other) const {
        PlainLanes y;
        for (int i = 0; i < count; ++i) y.at[i] = other.at[i] > at[i] ? other.at[i] : at[i];
        return y;
    }
    inline PlainLanes smaller(PlainLanes other) const {
        PlainLanes y;
        for (int i = 0; i < count; ++i) y.at[i] = other.at[i] < at[i] ? other.at[i] : at[i];
        return y;
    }
    inline PlainLanes rounded() const {
        PlainLanes y;
        for (int i = 0; i < count; ++i) y.at[i] = std::nearbyint(at[i]);
        return y;
    }
    // 2 to the power of these whole numbers, from -126 to 127.
    inline PlainLanes power_of_two() const {
        PlainLanes y;
        for (int i = 0; i < count; ++i) {
            const uint32_t bits = static_cast<uint32_t>(static_cast<int32_t>(at[i] == at[i] ? at[i] : 0.f) + 127) << 23;
            std::memcpy(&y.at[i], &bits, sizeof bits);
        }
        return y;
    }
    inline PlainLanes absolute() const {
        PlainLanes y;
        for (int i = 0; i < count; ++i) y.at[i] = std::fabs(at[i]);
        return y;
    }
    inline PlainLanes with_sign_of(PlainLanes other) const {
        PlainLanes y;
        for (int i = 0; i < count; ++i) y.at[i] = std::copysign(at[i], other.at[i]);
        return y;
    }
    // `less` where this is less than the bound, else `rest`.
    inline PlainLanes if_less(PlainLanes bound, PlainLanes less, PlainLanes rest) const {
        PlainLanes y;
        for (int i = 0; i < count; ++i) y.at[i] = at[i] < bound.at[i] ? less.at[i] : rest.at[i];
        return y;
    }
    // The sums of four vectors' lanes; each is summed in the same order, whichever of the four it is.
    static inline void sums(const PlainLanes& a, const PlainLanes& b, const PlainLanes& c, const PlainLanes& d, float* to) {
        to[0] = a.sum();
        to[1] = b.sum();
        to[2] = c.sum();
        to[3] = d.sum();
    }
    inline float sum() const {
        const float first = (at[0] + at[1]) + (at[2] + at[3]);
        if constexpr (COUNT == 4) return first;
        else return first + ((at[4] + at[5]) + (at[6] + at[7]));
    }
};

template <int COUNT>
inline PlainLanes<COUNT> operator+(PlainLanes<COUNT> a, PlainLanes<COUNT> b) {
    for (int i = 0; i < COUNT; ++i) a.at[i] += b.at[i];
    return a;
}
template <int COUNT>
inline PlainLanes<COUNT> operator-(PlainLanes<COUNT> a, PlainLanes<COUNT> b) {
    for (int i = 0; i < COUNT; ++i) a.at[i] -= b.at[i];
    return a;
}
template <int COUNT>
inline PlainLanes<COUNT> operator*(PlainLanes<COUNT> a, PlainLanes<COUNT> b) {
    for (int i = 0; i < COUNT; ++i) a.at[i] *= b.at[i];
    return a;
}
template <int COUNT>
inline PlainLanes<COUNT> operator/(PlainLanes<COUNT> a, PlainLanes<COUNT> b) {
    for (int i = 0; i < COUNT; ++i) a.at[i] /= b.at[i];
    return a;
}

// Fetches a line of memory into the second cache.
inline void fetch(const char* address) { __builtin_prefetch(address, 0, 2); }

using Lanes8 = PlainLanes<8>;
using Lanes = PlainLanes<TF_PLAIN_LANES>;

}  // namespace
