// Vectors of eight floats for processors with AVX2, FMA and F16C. The operations are described in lanes_plain.h.
#pragma once

#include <immintrin.h>

#include <cstdint>

namespace {

struct Lanes8 {
    static constexpr int count = 8;
    __m256 at;

    static inline Lanes8 all(float value) { return {_mm256_set1_ps(value)}; }
    static inline Lanes8 load(const float* from) { return {_mm256_loadu_ps(from)}; }
    inline void store(float* to) const { _mm256_storeu_ps(to, at); }

    static inline __m128i eight(const uint16_t* from) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(from)); }
    static inline __m256i sixteen(const uint16_t* from) {
        return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
    }
    static inline Lanes8 load_bf16(const uint16_t* from) {
        return {_mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(eight(from)), 16))};
    }
    static inline Lanes8 load_fp16(const uint16_t* from) { return {_mm256_cvtph_ps(eight(from))}; }
    static inline Lanes8 load_int8(const int8_t* from) {
        return {_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(from))))};
    }
    static inline Lanes8 load_even_bf16(const uint16_t* from) {
        return {_mm256_castsi256_ps(_mm256_slli_epi32(sixteen(from), 16))};
    }
    static inline Lanes8 load_odd_bf16(const uint16_t* from) {
        const __m256i upper = _mm256_set1_epi32(static_cast<int>(0xffff0000u));
        return {_mm256_castsi256_ps(_mm256_and_si256(sixteen(from), upper))};
    }
    inline void store_bf16(uint16_t* to) const {
        const __m256i bits = _mm256_castps_si256(at), upper = _mm256_srli_epi32(bits, 16);
        const __m256i odd = _mm256_and_si256(upper, _mm256_set1_epi32(1));
        const __m256i near = _mm256_add_epi32(_mm256_add_epi32(bits, _mm256_set1_epi32(0x7fff)), odd);
        const __m256i none = _mm256_or_si256(upper, _mm256_set1_epi32(0x40));
        const __m256i numbers = _mm256_castps_si256(_mm256_cmp_ps(at, at, _CMP_ORD_Q));
        const __m256i rounded = _mm256_blendv_epi8(none, _mm256_srli_epi32(near, 16), numbers);
        const __m256i packed = _mm256_permute4x64_epi64(_mm256_packus_epi32(rounded, rounded), 0x08);
        _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm256_castsi256_si128(packed));
    }
    inline Lanes8 times_plus(Lanes8 factor, Lanes8 plus) const { return {_mm256_fmadd_ps(at, factor.at, plus.at)}; }
    static inline float one_times_plus(float x, float factor, float plus) {
        return _mm_cvtss_f32(_mm_fmadd_ss(_mm_set_ss(x), _mm_set_ss(factor), _mm_set_ss(plus)));
    }
    // Where one of the two is not a number, the result is `this`.
    inline Lanes8 larger(Lanes8 other) const { return {_mm256_max_ps(other.at, at)}; }
    inline Lanes8 smaller(Lanes8 other) const { return {_mm256_min_ps(other.at, at)}; }
    inline Lanes8 rounded() const { return {_mm256_round_ps(at, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)}; }
    inline Lanes8 power_of_two() const {
        const __m256i whole = _mm256_add_epi32(_mm256_cvtps_epi32(at), _mm256_set1_epi32(127));
        return {_mm256_castsi256_ps(_mm256_slli_epi32(whole, 23))};
    }
    inline Lanes8 absolute() const { return {_mm256_andnot_ps(_mm256_set1_ps(-0.f), at)}; }
    inline Lanes8 with_sign_of(Lanes8 other) const {
        return {_mm256_or_ps(absolute().at, _mm256_and_ps(_mm256_set1_ps(-0.f), other.at))};
    }
    inline Lanes8 if_less(Lanes8 bound, Lanes8 less, Lanes8 rest) const {
        return {_mm256_blendv_ps(rest.at, less.at, _mm256_cmp_ps(at, bound.at, _CMP_LT_OQ))};
    }
    static inline void sums(const Lanes8& a, const Lanes8& b, const Lanes8& c, const Lanes8& d, float* to) {
        const __m256 pairs = _mm256_hadd_ps(_mm256_hadd_ps(a.at, b.at), _mm256_hadd_ps(c.at, d.at));
        _mm_storeu_ps(to, _mm_add_ps(_mm256_castps256_ps128(pairs), _mm256_extractf128_ps(pairs, 1)));
    }
    inline float sum() const {
        float four[4];
        sums(*this, *this, *this, *this, four);
        return four[0];
    }
};

inline Lanes8 operator+(Lanes8 a, Lanes8 b) { return {_mm256_add_ps(a.at, b.at)}; }
inline Lanes8 operator-(Lanes8 a, Lanes8 b) { return {_mm256_sub_ps(a.at, b.at)}; }
inline Lanes8 operator*(Lanes8 a, Lanes8 b) { return {_mm256_mul_ps(a.at, b.at)}; }
inline Lanes8 operator/(Lanes8 a, Lanes8 b) { return {_mm256_div_ps(a.at, b.at)}; }

inline void fetch(const char* address) { _mm_prefetch(address, _MM_HINT_T1); }

#ifndef TF_SIXTEEN_LANES
using Lanes = Lanes8;
#endif

}  // namespace
