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

// FourLanes floats, which compilers keep in one register where there is one of that size.
typedef float FourLanes __attribute__((vector_size(16)));
typedef uint32_t FourBits __attribute__((vector_size(16)));
static_assert(sizeof(FourLanes) == 16 && sizeof(FourBits) == 16, "four numbers of four bytes");

inline FourLanes numbers_of(FourBits bits) {
    FourLanes numbers;
    std::memcpy(&numbers, &bits, sizeof numbers);
    return numbers;
}
inline FourBits bits_of(FourLanes numbers) {
    FourBits bits;
    std::memcpy(&bits, &numbers, sizeof bits);
    return bits;
}
// Four numbers of two bytes, `step` apart.
inline FourBits bits_at(const uint16_t* from, int step) {
    return FourBits{from[0], from[step], from[2 * step], from[3 * step]};
}
// Four numbers in bfloat16, one after the other: each is the upper half of a number of four bytes.
inline FourLanes of_bf16(const uint16_t* from) {
#if defined(__clang__) || __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
    return numbers_of(bits_at(from, 1) << 16);
#else
    // In one operation, where GCC makes seven of the line above.
    typedef uint16_t Shorts __attribute__((vector_size(16)));
    typedef uint64_t Longs __attribute__((vector_size(16)));
    uint64_t four;
    std::memcpy(&four, from, sizeof four);
    const Shorts own = reinterpret_cast<Shorts>(Longs{four, 0});
    return reinterpret_cast<FourLanes>(__builtin_shuffle(Shorts{}, own, Shorts{0, 8, 1, 9, 2, 10, 3, 11}));
#endif
}
inline FourLanes of_fp16(FourBits bits) {
    const FourBits rest = bits & 0x7fff, sign = (bits & 0x8000) << 16;
    // The exponent's bias is 15 in fp16 and 127 in fp32; its largest value, of infinity and of what is no number, stays so.
    const FourBits special = reinterpret_cast<FourBits>(rest >= 0x7c00) & (112u << 23);
    const FourBits normal = (rest << 13) + (112u << 23) + special;
    // A subnormal number has no leading one: it is added with the smallest normal exponent, and taken away as a number.
    const FourLanes least = numbers_of(FourBits{} + (113u << 23));
    const FourBits small = bits_of(numbers_of((rest << 13) + (113u << 23)) - least);
    const FourBits is_small = reinterpret_cast<FourBits>(rest < 0x400);
    return numbers_of(sign | (small & is_small) | (normal & ~is_small));
}

template <int COUNT>
struct PlainLanes {
    static_assert(COUNT == 4 || COUNT == 8, "`sum` has an order for these");
    static constexpr int count = COUNT;
    static constexpr int fours = COUNT / 4;
    FourLanes at[fours];

    // The vector whose lane i is function(i).
    template <class Function>
    static inline PlainLanes each(Function function) {
        PlainLanes y;
        for (int f = 0; f < fours; ++f) {
            y.at[f] = FourLanes{function(4 * f), function(4 * f + 1), function(4 * f + 2), function(4 * f + 3)};
        }
        return y;
    }
    inline float lane(int i) const { return at[i / 4][i % 4]; }

    static inline PlainLanes all(float value) {
        PlainLanes y;
        for (int f = 0; f < fours; ++f) y.at[f] = FourLanes{value, value, value, value};
        return y;
    }
    static inline PlainLanes load(const float* from) {
        PlainLanes y;
        std::memcpy(y.at, from, sizeof y.at);
        return y;
    }
    inline void store(float* to) const { std::memcpy(to, at, sizeof at); }

    static inline PlainLanes load_bf16(const uint16_t* from) {
        PlainLanes y;
        for (int f = 0; f < fours; ++f) y.at[f] = of_bf16(from + 4 * f);
        return y;
    }
    static inline PlainLanes load_fp16(const uint16_t* from) {
        PlainLanes y;
        for (int f = 0; f < fours; ++f) y.at[f] = of_fp16(bits_at(from + 4 * f, 1));
        return y;
    }
    static inline PlainLanes load_int8(const int8_t* from) {
        return each([from](int i) { return static_cast<float>(from[i]); });
    }
    // Every second one of twice as many numbers in bfloat16, from the first or the second on.
    static inline PlainLanes load_even_bf16(const uint16_t* from) {
        PlainLanes y;
        for (int f = 0; f < fours; ++f) y.at[f] = numbers_of(bits_at(from + 8 * f, 2) << 16);
        return y;
    }
    static inline PlainLanes load_odd_bf16(const uint16_t* from) { return load_even_bf16(from + 1); }
    // In bfloat16, to the nearest, of two equally near ones to the even one; what is not a number stays none.
    inline void store_bf16(uint16_t* to) const {
        for (int i = 0; i < count; ++i) {
            const uint32_t bits = bits_of(at[i / 4])[i % 4];
            const uint32_t near = (bits + 0x7fff + (bits >> 16 & 1)) >> 16, none = bits >> 16 | 0x40;
            to[i] = static_cast<uint16_t>((bits & 0x7fffffff) > 0x7f800000 ? none : near);
        }
    }
    // this * factor + plus, rounded as the processor does it: with or without a rounding in between.
    inline PlainLanes times_plus(PlainLanes factor, PlainLanes plus) const {
#ifdef FP_FAST_FMAF
        return each([&](int i) { return std::fma(lane(i), factor.lane(i), plus.lane(i)); });
#else
        PlainLanes y;
        for (int f = 0; f < fours; ++f) y.at[f] = at[f] * factor.at[f] + plus.at[f];
        return y;
#endif
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
        return each([&](int i) { return other.lane(i) > lane(i) ? other.lane(i) : lane(i); });
    }
    inline PlainLanes smaller(PlainLanes other) const {
        return each([&](int i) { return other.lane(i) < lane(i) ? other.lane(i) : lane(i); });
    }
    inline PlainLanes rounded() const {
        return each([&](int i) { return std::nearbyint(lane(i)); });
    }
    // 2 to the power of these whole numbers, from -126 to 127.
    inline PlainLanes power_of_two() const {
        return each([&](int i) {
            const float own = lane(i) == lane(i) ? lane(i) : 0.f;
            const uint32_t bits = static_cast<uint32_t>(static_cast<int32_t>(own) + 127) << 23;
            float y;
            std::memcpy(&y, &bits, sizeof bits);
            return y;
        });
    }
    inline PlainLanes absolute() const {
        return each([&](int i) { return std::fabs(lane(i)); });
    }
    inline PlainLanes with_sign_of(PlainLanes other) const {
        return each([&](int i) { return std::copysign(lane(i), other.lane(i)); });
    }
    // `less` where this is less than the bound, else `rest`.
    inline PlainLanes if_less(PlainLanes bound, PlainLanes less, PlainLanes rest) const {
        return each([&](int i) { return lane(i) < bound.lane(i) ? less.lane(i) : rest.lane(i); });
    }
    // The sums of four vectors' lanes; each is summed in the same order, whichever of the four it is.
    static inline void sums(const PlainLanes& a, const PlainLanes& b, const PlainLanes& c, const PlainLanes& d, float* to) {
        to[0] = a.sum();
        to[1] = b.sum();
        to[2] = c.sum();
        to[3] = d.sum();
    }
    inline float sum() const {
        const float first = (lane(0) + lane(1)) + (lane(2) + lane(3));
        if constexpr (COUNT == 4) return first;
        else return first + ((lane(4) + lane(5)) + (lane(6) + lane(7)));
    }
};

template <int COUNT>
inline PlainLanes<COUNT> operator+(PlainLanes<COUNT> a, PlainLanes<COUNT> b) {
    for (int f = 0; f < a.fours; ++f) a.at[f] += b.at[f];
    return a;
}
template <int COUNT>
inline PlainLanes<COUNT> operator-(PlainLanes<COUNT> a, PlainLanes<COUNT> b) {
    for (int f = 0; f < a.fours; ++f) a.at[f] -= b.at[f];
    return a;
}
template <int COUNT>
inline PlainLanes<COUNT> operator*(PlainLanes<COUNT> a, PlainLanes<COUNT> b) {
    for (int f = 0; f < a.fours; ++f) a.at[f] *= b.at[f];
    return a;
}
template <int COUNT>
inline PlainLanes<COUNT> operator/(PlainLanes<COUNT> a, PlainLanes<COUNT> b) {
    for (int f = 0; f < a.fours; ++f) a.at[f] /= b.at[f];
    return a;
}

// Fetches a line of memory into the second cache.
inline void fetch(const char* address) { __builtin_prefetch(address, 0, 2); }

using Lanes8 = PlainLanes<8>;
using Lanes = PlainLanes<TF_PLAIN_LANES>;

}  // namespace
