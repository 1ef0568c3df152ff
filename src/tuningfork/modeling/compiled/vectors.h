// Vectors of fp32 numbers in the widest registers that this source is compiled for, and weights widened to them.
//
// Included by sources that are compiled for several instruction sets. So everything here is in an anonymous namespace,
// and nothing of the standard library is instantiated: a function compiled for AVX-512 must not take the place of its
// twin on a processor without.
#pragma once

#include <cstdint>
#include <cstring>

#if defined(__AVX2__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#if defined(__clang__)
#define TF_UNROLL _Pragma("unroll")
#else
#define TF_UNROLL _Pragma("GCC unroll 32")
#endif

namespace {

enum Type : int32_t { FP32 = 0, BF16 = 1, FP16 = 2, INT8 = 3 };

typedef float Four __attribute__((vector_size(16)));
static_assert(sizeof(Four) == 16, "four numbers of four bytes");

inline float widened_bf16(uint16_t bits) {
    const uint32_t wide = static_cast<uint32_t>(bits) << 16;
    float number;
    std::memcpy(&number, &wide, sizeof number);
    return number;
}

inline float widened_fp16(uint16_t bits) {
    const uint32_t sign = static_cast<uint32_t>(bits & 0x8000) << 16, rest = bits & 0x7fff;
    // The exponent's bias is 15 in fp16 and 127 in fp32; the product is exact, and right for subnormal numbers too.
    uint32_t wide = rest << 13;
    float number;
    std::memcpy(&number, &wide, sizeof number);
    number *= 0x1p112f;
    std::memcpy(&wide, &number, sizeof wide);
    if (rest >= 0x7c00) wide |= 0x7f800000;
    wide |= sign;
    std::memcpy(&number, &wide, sizeof number);
    return number;
}

inline Four four_at(const float* from) {
    Four numbers;
    std::memcpy(&numbers, from, sizeof numbers);
    return numbers;
}

inline void put_four(float* to, Four numbers) { std::memcpy(to, &numbers, sizeof numbers); }

#if defined(__AVX512F__)

constexpr int LANES = 16;
typedef __m512 Vec;

inline Vec zero() { return _mm512_setzero_ps(); }
inline Vec load(const float* from) { return _mm512_loadu_ps(from); }
inline void store(float* to, Vec numbers) { _mm512_storeu_ps(to, numbers); }
inline Vec spread(float number) { return _mm512_set1_ps(number); }
inline Vec add(Vec a, Vec b) { return _mm512_add_ps(a, b); }
inline Vec fma(Vec a, Vec b, Vec c) { return _mm512_fmadd_ps(a, b, c); }
inline Vec load_bf16(const uint16_t* from) {
    const __m256i bits = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16));
}
inline Vec load_fp16(const uint16_t* from) {
    return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)));
}
inline Vec load_int8(const int8_t* from) {
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from))));
}
inline __m256 halves_added(Vec a) {
    const __m256 high = _mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(a), 1));
    return _mm256_add_ps(_mm512_castps512_ps256(a), high);
}

#elif defined(__AVX2__)

constexpr int LANES = 8;
typedef __m256 Vec;

inline Vec zero() { return _mm256_setzero_ps(); }
inline Vec load(const float* from) { return _mm256_loadu_ps(from); }
inline void store(float* to, Vec numbers) { _mm256_storeu_ps(to, numbers); }
inline Vec spread(float number) { return _mm256_set1_ps(number); }
inline Vec add(Vec a, Vec b) { return _mm256_add_ps(a, b); }
inline Vec fma(Vec a, Vec b, Vec c) { return _mm256_fmadd_ps(a, b, c); }
inline Vec load_bf16(const uint16_t* from) {
    const __m128i bits = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16));
}
inline Vec load_fp16(const uint16_t* from) {
    return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
}
inline Vec load_int8(const int8_t* from) {
    return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(from))));
}
inline __m256 halves_added(Vec a) { return a; }

#else

constexpr int LANES = 4;
typedef Four Vec;

inline Vec zero() { return Vec{0, 0, 0, 0}; }
inline Vec load(const float* from) { return four_at(from); }
inline void store(float* to, Vec numbers) { put_four(to, numbers); }
inline Vec spread(float number) { return Vec{number, number, number, number}; }
inline Vec add(Vec a, Vec b) { return a + b; }
#if defined(__aarch64__)
inline Vec fma(Vec a, Vec b, Vec c) { return vfmaq_f32(c, a, b); }
#else
inline Vec fma(Vec a, Vec b, Vec c) { return a * b + c; }
#endif
inline Vec load_bf16(const uint16_t* from) {
    return Vec{widened_bf16(from[0]), widened_bf16(from[1]), widened_bf16(from[2]), widened_bf16(from[3])};
}
inline Vec load_fp16(const uint16_t* from) {
    return Vec{widened_fp16(from[0]), widened_fp16(from[1]), widened_fp16(from[2]), widened_fp16(from[3])};
}
inline Vec load_int8(const int8_t* from) {
    return Vec{static_cast<float>(from[0]), static_cast<float>(from[1]), static_cast<float>(from[2]),
               static_cast<float>(from[3])};
}

#endif

// The sum of each of four vectors.
#if defined(__AVX2__)
inline Four summed(Vec a, Vec b, Vec c, Vec d) {
    const __m256 ab = _mm256_hadd_ps(halves_added(a), halves_added(b));
    const __m256 cd = _mm256_hadd_ps(halves_added(c), halves_added(d));
    const __m256 all = _mm256_hadd_ps(ab, cd);
    return _mm_add_ps(_mm256_castps256_ps128(all), _mm256_extractf128_ps(all, 1));
}
#else
inline float sum_of(Vec a) { return (a[0] + a[1]) + (a[2] + a[3]); }
inline Four summed(Vec a, Vec b, Vec c, Vec d) { return Four{sum_of(a), sum_of(b), sum_of(c), sum_of(d)}; }
#endif

// Asks for the cache line at this address, which need not be one of ours, to be read in advance.
inline void prefetch(const void* address) { __builtin_prefetch(address, 0, 3); }

template <Type TYPE>
struct Stored;
template <>
struct Stored<FP32> {
    typedef float Number;
    static Vec wide(const float* from) { return load(from); }
};
template <>
struct Stored<BF16> {
    typedef uint16_t Number;
    static Vec wide(const uint16_t* from) { return load_bf16(from); }
};
template <>
struct Stored<FP16> {
    typedef uint16_t Number;
    static Vec wide(const uint16_t* from) { return load_fp16(from); }
};
template <>
struct Stored<INT8> {
    typedef int8_t Number;
    static Vec wide(const int8_t* from) { return load_int8(from); }
};

// The first `count` numbers, fewer than LANES, and zeros after them.
template <Type TYPE>
inline Vec wide_start(const typename Stored<TYPE>::Number* from, int64_t count) {
    typename Stored<TYPE>::Number filled[LANES] = {};
    std::memcpy(filled, from, static_cast<size_t>(count) * sizeof filled[0]);
    return Stored<TYPE>::wide(filled);
}

}  // namespace
