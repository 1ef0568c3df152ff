// Stored numbers of each type, widened to vectors. The including source has chosen what a vector is, by one of the headers
// `lanes_*.h`.
#pragma once

#include <cstdint>
#include <cstring>

enum TfType : int32_t { TF_FLOAT32 = 0, TF_BFLOAT16 = 1, TF_FLOAT16 = 2, TF_INT8 = 3 };

namespace {

// Numbers of each type, widened. `load` takes one half of two vectors of them: the first or the second, but of bfloat16
// those at even or at odd places, which takes one operation each.
template <int type>
struct Weights;

template <>
struct Weights<TF_FLOAT32> {
    using Type = float;
    static inline Lanes load(const float* from, int half) { return Lanes::load(from + half * Lanes::count); }
    static inline Lanes8 eight(const float* from) { return Lanes8::load(from); }
    static inline Lanes in_order(const float* from) { return Lanes::load(from); }
    static inline void write(float x, float* to) { *to = x; }
    static inline void write(Lanes x, float* to) { x.store(to); }
};

template <>
struct Weights<TF_BFLOAT16> {
    using Type = uint16_t;
    static inline Lanes load(const uint16_t* from, int half) {
        return half ? Lanes::load_odd_bf16(from) : Lanes::load_even_bf16(from);
    }
    static inline Lanes8 eight(const uint16_t* from) { return Lanes8::load_bf16(from); }
    static inline Lanes in_order(const uint16_t* from) { return Lanes::load_bf16(from); }
    static inline void write(float x, uint16_t* to) {
        uint32_t bits;
        std::memcpy(&bits, &x, sizeof bits);
        // To the nearest, of two equally near ones to the even one; what is not a number stays none.
        *to = static_cast<uint16_t>(x == x ? (bits + 0x7fff + ((bits >> 16) & 1)) >> 16 : (bits >> 16) | 0x40);
    }
    static inline void write(Lanes x, uint16_t* to) { x.store_bf16(to); }
};

template <>
struct Weights<TF_FLOAT16> {
    using Type = uint16_t;
    static inline Lanes load(const uint16_t* from, int half) { return Lanes::load_fp16(from + half * Lanes::count); }
    static inline Lanes8 eight(const uint16_t* from) { return Lanes8::load_fp16(from); }
    static inline Lanes in_order(const uint16_t* from) { return Lanes::load_fp16(from); }
};

// Not scaled. Adapters and caches are never in this type.
template <>
struct Weights<TF_INT8> {
    using Type = int8_t;
    static inline Lanes load(const int8_t* from, int half) { return Lanes::load_int8(from + half * Lanes::count); }
    static inline Lanes in_order(const int8_t* from) { return Lanes::load_int8(from); }
};

}  // namespace
