// Products of a few rows with a base's weights, and of one row with an adapter's.
//
// Every output is one sum over the inputs in one order: `Lanes::count` partial sums, each over every so many inputs, and
// these in the order of `Lanes::sums`. Neither the number of rows, nor the place of a row, nor the number of threads
// changes it.
#pragma once

#include <cstring>

#include "step_memory.h"
#include "weights.h"

namespace {

// How weights and rows are multiplied: `STEP` inputs in each turn of the innermost loop, in two halves.
template <int type>
struct Factors {
    using Type = typename Weights<type>::Type;
    using Row = float;
    using Wide = Lanes;
    static constexpr int STEP = 2 * Lanes::count;

    static inline Wide weights(const Type* from, int half) { return Weights<type>::load(from, half); }
    static inline Wide row(const float* from, int half) { return Lanes::load(from + half * Lanes::count); }
    static inline Lanes times_plus(Wide weights, Wide row, Lanes sums) { return weights.times_plus(row, sums); }
    // Writes a row in the order in which it is multiplied, and zeros after it up to a whole turn.
    static inline void prepare(const float* x, int64_t inputs, float* to) {
        const int64_t whole = inputs / STEP * STEP, half = Lanes::count, padded = tf_padded(inputs, STEP);
        std::memset(to + whole, 0, sizeof(float) * (padded - whole));
        if (type != TF_BFLOAT16) {
            std::memcpy(to, x, sizeof(float) * inputs);
            return;
        }
        for (int64_t k = 0; k < whole; k += STEP) {
            for (int64_t i = 0; i < half; ++i) {
                to[k + i] = x[k + 2 * i];
                to[k + half + i] = x[k + 2 * i + 1];
            }
        }
        for (int64_t i = whole; i < inputs; ++i) to[whole + (i - whole) / 2 + (i - whole) % 2 * half] = x[i];
    }
};

#if defined(TF_ROUNDED_ROWS)
// Rows are rounded to bfloat16 too. Products of pairs of numbers are added to sums in fp32.
template <>
struct Factors<TF_BFLOAT16> {
    using Type = uint16_t;
    using Row = uint16_t;
    using Wide = __m512bh;
    static constexpr int STEP = 4 * Lanes::count;

    static inline Wide weights(const uint16_t* from, int half) {
        return reinterpret_cast<Wide>(_mm512_loadu_si512(from + half * 2 * Lanes::count));
    }
    static inline Wide row(const uint16_t* from, int half) { return weights(from, half); }
    static inline Lanes times_plus(Wide weights, Wide row, Lanes sums) {
        return {_mm512_dpbf16_ps(sums.at, weights, row)};
    }
    static inline void prepare(const float* x, int64_t inputs, uint16_t* to) {
        const int64_t padded = tf_padded(inputs, STEP);
        for (int64_t i = 0; i < inputs; ++i) Weights<TF_BFLOAT16>::write(x[i], to + i);
        std::memset(to + inputs, 0, sizeof(uint16_t) * (padded - inputs));
    }
};
#endif

// Where the outputs of rows go, and what they are multiplied with (null: nothing). `adds`: they are added to what is
// there.
struct Outputs {
    float* y;
    int64_t stride;
    const float* scales;
    bool adds;

    inline Outputs from(int64_t row, int64_t output) const {
        return {y + row * stride + output, stride, scales ? scales + output : nullptr, adds};
    }
};

// The outputs of N rows of weights for M prepared rows. `ahead`: whether the next N rows of weights are fetched too.
template <class Kind, int M, int N, bool ahead>
inline void tile(const typename Kind::Type* weights, int64_t inputs, const typename Kind::Row* x, int64_t x_stride,
                 const Outputs& to) {
    constexpr int STEP = Kind::STEP;
    Lanes sums[N * M];
#pragma GCC unroll 32
    for (int i = 0; i < N * M; ++i) sums[i] = Lanes::all(0.f);
    const int64_t whole = inputs / STEP * STEP;
    const auto turn = [&](const typename Kind::Type* from, int64_t stride, int64_t k) __attribute__((always_inline)) {
#pragma GCC unroll 2
        for (int half = 0; half < 2; ++half) {
            typename Kind::Wide own[M];
#pragma GCC unroll 4
            for (int m = 0; m < M; ++m) own[m] = Kind::row(x + m * x_stride + k, half);
#pragma GCC unroll 8
            for (int n = 0; n < N; ++n) {
                const typename Kind::Wide weight = Kind::weights(from + n * stride, half);
#pragma GCC unroll 4
                for (int m = 0; m < M; ++m) sums[n * M + m] = Kind::times_plus(weight, own[m], sums[n * M + m]);
            }
        }
    };
    // The rows of weights that follow are fetched in the order in which they lie in memory, some lines in each turn.
    constexpr int taken = N * STEP * sizeof(typename Kind::Type);
    const char* next = reinterpret_cast<const char*>(weights + N * inputs);
    for (int64_t k = 0; k < whole; k += STEP) {
        if (ahead) {
#pragma GCC unroll 16
            for (int byte = 0; byte < taken; byte += 64) fetch(next + byte);
            next += taken;
        }
        turn(weights + k, inputs, k);
    }
    if (whole < inputs) {
        typename Kind::Type rest[N][STEP] = {};
        for (int n = 0; n < N; ++n) {
            std::memcpy(rest[n], weights + n * inputs + whole, sizeof(typename Kind::Type) * (inputs - whole));
        }
        turn(rest[0], STEP, whole);
    }
    float found[(N * M + 3) / 4 * 4];
    const Lanes none = Lanes::all(0.f);
#pragma GCC unroll 8
    for (int i = 0; i < N * M; i += 4) {
        Lanes::sums(sums[i], i + 1 < N * M ? sums[i + 1] : none, i + 2 < N * M ? sums[i + 2] : none,
                    i + 3 < N * M ? sums[i + 3] : none, found + i);
    }
    for (int n = 0; n < N; ++n) {
        for (int m = 0; m < M; ++m) {
            float& y = to.y[m * to.stride + n];
            const float own = to.scales ? found[n * M + m] * to.scales[n] : found[n * M + m];
            y = to.adds ? y + own : own;
        }
    }
}

// As many rows of weights at a time as sums fit into registers.
template <int M>
constexpr int outputs_at_once() {
    return Lanes::count == 16 ? (M == 4 ? 6 : 8) : (M == 1 ? 8 : M == 2 ? 4 : M == 3 ? 3 : 2);
}

template <class Kind, int M, bool ahead>
inline void tiles(const typename Kind::Type* weights, int64_t inputs, int64_t outputs, const typename Kind::Row* x,
                  int64_t x_stride, const Outputs& to) {
    constexpr int N = outputs_at_once<M>();
    int64_t o = 0;
    for (; o + N <= outputs; o += N) {
        tile<Kind, M, N, ahead>(weights + o * inputs, inputs, x, x_stride, to.from(0, o));
    }
    for (; o < outputs; ++o) tile<Kind, M, 1, false>(weights + o * inputs, inputs, x, x_stride, to.from(0, o));
}

// The outputs of some rows of weights for all rows, at most four of which are computed at a time: the weights are read
// from memory for the first ones, and stay in the cache for the others.
template <class Kind>
inline void block(const void* from, int64_t inputs, int64_t outputs, const float* prepared, int64_t stride,
                  int64_t rows, const Outputs& all) {
    const auto* weights = static_cast<const typename Kind::Type*>(from);
    const auto* x = reinterpret_cast<const typename Kind::Row*>(prepared);
    const int64_t x_stride = stride * static_cast<int64_t>(sizeof(float) / sizeof(typename Kind::Row));
    const int64_t turns = (rows + 3) / 4;
    for (int64_t turn = 0; turn < turns; ++turn) {
        const int64_t begin = rows * turn / turns, count = rows * (turn + 1) / turns - begin;
        const typename Kind::Row* own = x + begin * x_stride;
        const Outputs to = all.from(begin, 0);
        if (count == 4 && turn == 0) tiles<Kind, 4, true>(weights, inputs, outputs, own, x_stride, to);
        else if (count == 4) tiles<Kind, 4, false>(weights, inputs, outputs, own, x_stride, to);
        else if (count == 3 && turn == 0) tiles<Kind, 3, true>(weights, inputs, outputs, own, x_stride, to);
        else if (count == 3) tiles<Kind, 3, false>(weights, inputs, outputs, own, x_stride, to);
        else if (count == 2 && turn == 0) tiles<Kind, 2, true>(weights, inputs, outputs, own, x_stride, to);
        else if (count == 2) tiles<Kind, 2, false>(weights, inputs, outputs, own, x_stride, to);
        else tiles<Kind, 1, true>(weights, inputs, outputs, own, x_stride, to);
    }
}

// Eight numbers, of which those from `count` on are zero; reads none of these.
template <class Kind>
inline Lanes8 up_to_eight(const typename Kind::Type* from, int64_t count) {
    if (count >= 8) return Kind::eight(from);
    typename Kind::Type some[8] = {};
    std::memcpy(some, from, sizeof(typename Kind::Type) * count);
    return Kind::eight(some);
}

// x A for a row x, where A has `inputs` rows of `width` numbers: up to 24 of them, from `begin` on.
template <class Kind, int vectors>
inline void low_columns(const typename Kind::Type* a, int64_t inputs, int64_t width, const float* x, int64_t begin,
                        float* low) {
    Lanes8 sums[4][vectors];
    for (auto& own : sums) {
        for (auto& each : own) each = Lanes8::all(0.f);
    }
    const int64_t left = width - begin;
    for (int64_t d = 0; d < inputs; d += 4) {
#pragma GCC unroll 4
        for (int j = 0; j < 4; ++j) {
            if (d + j >= inputs) break;
            const Lanes8 own = Lanes8::all(x[d + j]);
            const typename Kind::Type* from = a + (d + j) * width + begin;
#pragma GCC unroll 3
            for (int v = 0; v < vectors; ++v) {
                const Lanes8 weight = up_to_eight<Kind>(from + 8 * v, v + 1 < vectors ? 8 : left - 8 * v);
                sums[j][v] = weight.times_plus(own, sums[j][v]);
            }
        }
    }
    for (int v = 0; v < vectors; ++v) {
        float eight[8];
        ((sums[0][v] + sums[1][v]) + (sums[2][v] + sums[3][v])).store(eight);
        const int64_t count = v + 1 < vectors || left - 8 * v >= 8 ? 8 : left - 8 * v;
        std::memcpy(low + begin + 8 * v, eight, sizeof(float) * count);
    }
}

template <class Kind>
inline void low_of(const void* table, int64_t place, int64_t inputs, int64_t width, const float* x, float* low) {
    const auto* a = static_cast<const typename Kind::Type*>(table) + place * inputs * width;
    for (int64_t begin = 0; begin < width; begin += 24) {
        const int64_t left = width - begin;
        if (left > 16) low_columns<Kind, 3>(a, inputs, width, x, begin, low);
        else if (left > 8) low_columns<Kind, 2>(a, inputs, width, x, begin, low);
        else low_columns<Kind, 1>(a, inputs, width, x, begin, low);
    }
}

// Add low B to the outputs of a layer, one row of B after the other, as they lie in memory.
template <class Kind>
inline void add_high(const void* table, int64_t place, int64_t rank, int64_t outputs, const float* low, float* y) {
    const auto* b = static_cast<const typename Kind::Type*>(table) + place * rank * outputs;
    for (int64_t r = 0; r < rank; ++r, b += outputs) {
        const Lanes8 own = Lanes8::all(low[r]);
        int64_t o = 0;
        for (; o + 8 <= outputs; o += 8) Kind::eight(b + o).times_plus(own, Lanes8::load(y + o)).store(y + o);
        if (o < outputs) {
            float some[8] = {};
            std::memcpy(some, y + o, sizeof(float) * (outputs - o));
            up_to_eight<Kind>(b + o, outputs - o).times_plus(own, Lanes8::load(some)).store(some);
            std::memcpy(y + o, some, sizeof(float) * (outputs - o));
        }
    }
}

}  // namespace
