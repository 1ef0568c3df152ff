// Attention of one new token of a row over the pages of its sequence.
//
// The tokens are taken in chunks of a fixed size, each of which gives partial sums (flash decoding: Dao et al. 2023);
// these are added in the order of the chunks. So several threads can share a long sequence, and the numbers depend on
// its length alone.
#pragma once

#include <cmath>

#include "step_memory.h"

namespace {

// y = x / sqrt(mean(x^2) + epsilon) * weight; y may be x.
inline void normalize(const TfNorm& norm, const float* x, int64_t length, float* y) {
    const float mean = sum_of_squares(x, length) / static_cast<float>(length);
    const float inverse = 1.f / __builtin_sqrtf(mean + static_cast<float>(norm.epsilon));
    for (int64_t i = 0; i < length; ++i) y[i] = x[i] * inverse * norm.weight[i];
}

// Normalize, if there is a norm, and rotate a head of a query or key, if there is a rotation; y must not be x.
inline void position(const TfNorm& norm, const TfRotation* rotation, int64_t row, const float* x, int64_t size,
                     float* y) {
    if (norm.weight) normalize(norm, x, size, y);
    else std::memcpy(y, x, sizeof(float) * size);
    if (!rotation) return;
    const int64_t half = rotation->size / 2;
    const float *cosines = rotation->cosines + row * rotation->size, *sines = rotation->sines + row * rotation->size;
    for (int64_t i = 0; i < half; ++i) {
        const float first = y[i], second = y[half + i];
        y[i] = Lanes::one_times_plus(second, sines[i], first * cosines[i]);
        y[half + i] = Lanes::one_times_plus(first, sines[half + i], second * cosines[half + i]);
    }
}

// A vector of a head's features. `whole`: heads are whole vectors; else the last one is filled up with zeros.
template <class Kind, bool whole>
inline Lanes features(const typename Kind::Type* from, int64_t left) {
    if (whole || left >= Lanes::count) return Kind::in_order(from);
    typename Kind::Type some[Lanes::count] = {};
    std::memcpy(some, from, sizeof(typename Kind::Type) * left);
    return Kind::in_order(some);
}

// Tokens of a chunk: where each one's keys and values begin, from those of the cache's first place on.
struct Chunk {
    int64_t count;
    int64_t at[TF_CHUNK + 3];                // the last one is repeated three times

    inline Chunk(const int32_t* pages, int64_t page_tokens, int64_t begin, int64_t end, int64_t size)
        : count(end - begin) {
        int64_t page = begin / page_tokens, own = begin % page_tokens;
        for (int64_t t = 0; t < count; ++t) {
            at[t] = (pages[page] * page_tokens + own) * size;
            if (++own == page_tokens) ++page, own = 0;
        }
        for (int64_t t = count; t < count + 3; ++t) at[t] = at[count - 1];
    }
};

// Products of a query with the keys of a chunk.
template <class Kind, bool whole>
inline void scores_of(const float* query, const typename Kind::Type* keys, int64_t size, const Chunk& chunk,
                      float* scores) {
    for (int64_t t = 0; t < chunk.count; t += 4) {
        Lanes sums[4] = {Lanes::all(0.f), Lanes::all(0.f), Lanes::all(0.f), Lanes::all(0.f)};
        for (int64_t k = 0; k < size; k += Lanes::count) {
            const Lanes own = Lanes::load(query + k);
#pragma GCC unroll 4
            for (int j = 0; j < 4; ++j) {
                sums[j] = features<Kind, whole>(keys + chunk.at[t + j] + k, size - k).times_plus(own, sums[j]);
            }
        }
        Lanes::sums(sums[0], sums[1], sums[2], sums[3], scores + t);
    }
}

// Sums of a chunk's values, weighted: of so many vectors of features, from feature `first` on.
template <class Kind, bool whole, int vectors>
inline void weighted(const float* weights, const typename Kind::Type* values, int64_t size, int64_t first,
                     const Chunk& chunk, float* sums) {
    Lanes own[vectors];
    for (auto& each : own) each = Lanes::all(0.f);
    for (int64_t t = 0; t < chunk.count; ++t) {
        const typename Kind::Type* value = values + chunk.at[t] + first;
        const Lanes weight = Lanes::all(weights[t]);
#pragma GCC unroll 8
        for (int v = 0; v < vectors; ++v) {
            const int64_t left = size - first - v * Lanes::count;
            own[v] = features<Kind, whole>(value + v * Lanes::count, left).times_plus(weight, own[v]);
        }
    }
    for (int v = 0; v < vectors; ++v) own[v].store(sums + first + v * Lanes::count);
}

template <class Kind, bool whole>
inline void sums_of(const float* weights, const typename Kind::Type* values, int64_t size, const Chunk& chunk,
                    float* sums) {
    const int64_t count = (size + Lanes::count - 1) / Lanes::count;
    int64_t v = 0;
    for (; v + 8 <= count; v += 8) weighted<Kind, whole, 8>(weights, values, size, v * Lanes::count, chunk, sums);
    for (; v + 4 <= count; v += 4) weighted<Kind, whole, 4>(weights, values, size, v * Lanes::count, chunk, sums);
    for (; v < count; ++v) weighted<Kind, whole, 1>(weights, values, size, v * Lanes::count, chunk, sums);
}

// The weights e^(score - largest) in place of the scores, zeros after them up to a whole vector; returns the largest
// score and the weights' sum.
inline void weights_of(float* scores, int64_t count, float scaling, float softcap, float* largest, float* total) {
    map(scores, scores, count, [&](Lanes s) {
        s = s * Lanes::all(scaling);
        return softcap ? hyperbolic_tangent(s / Lanes::all(softcap)) * Lanes::all(softcap) : s;
    });
    float most = scores[0];
    for (int64_t t = 1; t < count; ++t) most = scores[t] > most ? scores[t] : most;
    map(scores, scores, count, [&](Lanes s) { return exponential(s - Lanes::all(most)); });
    Lanes sum = Lanes::all(0.f);
    for (int64_t t = count; t % Lanes::count; ++t) scores[t] = 0.f;
    for (int64_t t = 0; t < count; t += Lanes::count) sum = sum + Lanes::load(scores + t);
    *largest = most;
    *total = sum.sum();
}

// Divide the sums of a row's and head's chunks by their weights; `partial` is the first chunk's, the next is `stride`
// further.
inline void combine(const float* partial, int64_t stride, int64_t chunks, int64_t size, float* out) {
    float largest = partial[0];
    for (int64_t c = 1; c < chunks; ++c) largest = partial[c * stride] > largest ? partial[c * stride] : largest;
    float total = 0.f;
    for (int64_t i = 0; i < size; ++i) out[i] = 0.f;
    for (int64_t c = 0; c < chunks; ++c) {
        const float* own = partial + c * stride;
        float weights[Lanes::count];
        exponential(Lanes::all(own[0] - largest)).store(weights);
        total = Lanes::one_times_plus(own[1], weights[0], total);
        for (int64_t i = 0; i < size; ++i) out[i] = Lanes::one_times_plus(own[2 + i], weights[0], out[i]);
    }
    for (int64_t i = 0; i < size; ++i) out[i] /= total;
}

}  // namespace
