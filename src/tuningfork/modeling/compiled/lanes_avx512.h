// Vectors of sixteen floats for processors with AVX-512 (F, BW, DQ, VL). The operations are described in lanes_plain.h.
#pragma once

#define TF_SIXTEEN_LANES
#include "lanes_avx2.h"

namespace {

struct Lanes16 {
    static constexpr int count = 16;
    __m512 at;

    static inline Lanes16 all(float value) { return {_mm512_set1_ps(value)}; }
    static inline Lanes16 load(const float* from) { return {_mm512_loadu_ps(from)}; }
    inline void store(float* to) const { _mm512_storeu_ps(to, at); }

    static inline __m256i sixteen(const uint16_t* from) {
        return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
    }
    static inline __m512i thirty_two(const uint16_t* from) { return _mm512_loadu_si512(from); }
    static inline Lanes16 load_bf16(const uint16_t* from) {
        return {_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(sixteen(from)), 16))};
    }
    static inline Lanes16 load_fp16(const uint16_t* from) { return {_mm512_cvtph_ps(sixteen(from))}; }
    static inline Lanes16 load_int8(const int8_t* from) {
        return {_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from))))};
    }
    static inline Lanes16 load_even_bf16(const uint16_t* from) {
        return {_mm512_castsi512_ps(_mm512_slli_epi32(thirty_two(from), 16))};
    }
    static inline Lanes16 load_odd_bf16(const uint16_t* from) {
        const __m512i upper = _mm512_set1_epi32(static_cast<int>(0xffff0000u));
        return {_mm512_castsi512_ps(_mm512_and_si512(thirty_two(from), upper))};
    }
    inline void store_bf16(uint16_t* to) const {
        const __m512i bits = _mm512_castps_si512(at), upper = _mm512_srli_epi32(bits, 16);
        const __m512i odd = _mm512_and_si512(upper, _mm512_set1_epi32(1));
        const __m512i near = _mm512_add_epi32(_mm512_add_epi32(bits, _mm512_set1_epi32(0x7fff)), odd);
        const __m512i none = _mm512_or_si512(upper, _mm512_set1_epi32(0x40));
        const __mmask16 numbers = _mm512_cmp_ps_mask(at, at, _CMP_ORD_Q);
        const __m512i rounded = _mm512_mask_srli_epi32(none, numbers, near, 16);
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), _mm512_cvtepi32_epi16(rounded));
    }
    inline Lanes16 times_plus(Lanes16 factor, Lanes16 plus) const { return {_mm512_fmadd_ps(at, factor.at, plus.at)}; }
    static inline float one_times_plus(float x, float factor, float plus) {
        return Lanes8::one_times_plus(x, factor, plus);
    }
    inline Lanes16 larger(Lanes16 other) const { return {_mm512_max_ps(other.at, at)}; }
    inline Lanes16 smaller(Lanes16 other) const { return {_mm512_min_ps(other.at, at)}; }
    inline Lanes16 rounded() const {
        return {_mm512_roundscale_ps(at, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)};
    }
    inline Lanes16 power_of_two() const {
        const __m512i whole = _mm512_add_epi32(_mm512_cvtps_epi32(at), _mm512_set1_epi32(127));
        return {_mm512_castsi512_ps(_mm512_slli_epi32(whole, 23))};
    }
    inline Lanes16 absolute() const { return {_mm512_abs_ps(at)}; }
    inline Lanes16 with_sign_of(Lanes16 other) const {
        return {_mm512_or_ps(absolute().at, _mm512_and_ps(_mm512_set1_ps(-0.f), other.at))};
    }
    inline Lanes16 if_less(Lanes16 bound, Lanes16 less, Lanes16 rest) const {
        return {_mm512_mask_blend_ps(_mm512_cmp_ps_mask(at, bound.at, _CMP_LT_OQ), rest.at, less.at)};
    }
    inline Lanes8 folded() const {
        return {_mm256_add_ps(_mm512_castps512_ps256(at), _mm512_extractf32x8_ps(at, 1))};
    }
    static inline void sums(const Lanes16& a, const Lanes16& b, const Lanes16& c, const Lanes16& d, float* to) {
        Lanes8::sums(a.folded(), b.folded(), c.folded(), d.folded(), to);
    }
    inline float sum() const { return folded().sum(); }
};

inline Lanes16 operator+(Lanes16 a, Lanes16 b) { return {_mm512_add_ps(a.at, b.at)}; }
inline Lanes16 operator-(Lanes16 a, Lanes16 b) { return {_mm512_sub_ps(a.at, b.at)}; }
inline Lanes16 operator*(Lanes16 a, Lanes16 b) { return {_mm512_mul_ps(a.at, b.at)}; }
inline Lanes16 operator/(Lanes16 a, Lanes16 b) { return {_mm512_div_ps(a.at, b.at)}; }

using Lanes = Lanes16;

}  // namespace
