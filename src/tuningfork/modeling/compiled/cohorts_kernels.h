// The kernels of cohorts.h, for the instruction set that the including source is compiled for. As in products_kernels.h,
// everything is in an anonymous namespace, and each number of a tile goes its own way.
#pragma once

#include <cstdint>
#include <cstring>

#include "cohorts.h"
#include "weights.h"

#if defined(__clang__)
#define TF_UNROLL _Pragma("unroll")
#else
#define TF_UNROLL _Pragma("GCC unroll 32")
#endif

namespace {

constexpr int LANES = Lanes::count;
// Rows and columns of a tile of sums along the inputs.
constexpr int DOT_ROWS = LANES == 16 ? 6 : 3;
constexpr int DOT_COLUMNS = 4;
// Rows, and vectors of outputs, of the other tiles.
constexpr int TILE_ROWS = 4;
constexpr int TILE_VECTORS = 2;

template <int TYPE>
using Number = typename Weights<TYPE>::Type;

inline int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

// Up to a whole vector of numbers; zeros take the place of those from `count` on, which are not read.
template <int TYPE>
inline Lanes up_to(const Number<TYPE>* from, int64_t count) {
    if (count >= LANES) return Weights<TYPE>::in_order(from);
    Number<TYPE> some[LANES] = {};
    std::memcpy(some, from, static_cast<size_t>(count) * sizeof some[0]);
    return Weights<TYPE>::in_order(some);
}

// The first `count` numbers of a vector, at most all of it, in the type of `to`.
template <int TYPE>
inline void put(Lanes numbers, Number<TYPE>* to, int64_t count) {
    if (count >= LANES) return Weights<TYPE>::write(numbers, to);
    Number<TYPE> some[LANES];
    Weights<TYPE>::write(numbers, some);
    std::memcpy(to, some, static_cast<size_t>(count) * sizeof some[0]);
}

// ROWS x COLUMNS sums along `count` inputs of rows of x with rows of w, times the scale.
template <int TYPE, int ROWS, int COLUMNS>
inline void dot_tile(const Number<TYPE>* x, int64_t x_stride, const Number<TYPE>* w, int64_t w_stride, int64_t count,
                     float scale, float* to, int64_t to_stride) {
    Lanes acc[ROWS][4];
    TF_UNROLL for (int row = 0; row < ROWS; ++row) TF_UNROLL for (int n = 0; n < 4; ++n) acc[row][n] = Lanes::all(0.f);
    const auto turn = [&](int64_t at, int64_t left) __attribute__((always_inline)) {
        Lanes own[ROWS];
        TF_UNROLL for (int row = 0; row < ROWS; ++row) own[row] = up_to<TYPE>(x + row * x_stride + at, left);
        TF_UNROLL for (int n = 0; n < COLUMNS; ++n) {
            const Lanes weights = up_to<TYPE>(w + n * w_stride + at, left);
            TF_UNROLL for (int row = 0; row < ROWS; ++row) acc[row][n] = own[row].times_plus(weights, acc[row][n]);
        }
    };
    int64_t at = 0;
    for (; at + LANES <= count; at += LANES) turn(at, LANES);
    if (at < count) turn(at, count - at);
    TF_UNROLL for (int row = 0; row < ROWS; ++row) {
        float numbers[4];
        Lanes::sums(acc[row][0], acc[row][1], acc[row][2], acc[row][3], numbers);
        TF_UNROLL for (int n = 0; n < COLUMNS; ++n) to[row * to_stride + n] = numbers[n] * scale;
    }
}

template <int TYPE, int ROWS, int COLUMNS>
inline void dot_rest(int64_t rows, const Number<TYPE>* x, int64_t x_stride, const Number<TYPE>* w, int64_t w_stride,
                     int64_t count, float scale, float* to, int64_t to_stride) {
    if constexpr (ROWS > 0) {
        if (rows == ROWS) dot_tile<TYPE, ROWS, COLUMNS>(x, x_stride, w, w_stride, count, scale, to, to_stride);
        else dot_rest<TYPE, ROWS - 1, COLUMNS>(rows, x, x_stride, w, w_stride, count, scale, to, to_stride);
    }
}

template <int TYPE, int COLUMNS>
inline void dot_columns(int64_t rows, const Number<TYPE>* x, int64_t x_stride, const Number<TYPE>* w, int64_t w_stride,
                        int64_t count, float scale, float* to, int64_t to_stride) {
    for (int64_t row = 0; row < rows; row += DOT_ROWS) {
        dot_rest<TYPE, DOT_ROWS, COLUMNS>(least(DOT_ROWS, rows - row), x + row * x_stride, x_stride, w, w_stride, count,
                                          scale, to + row * to_stride, to_stride);
    }
}

// rows x columns sums: to = scale x w^T.
template <int TYPE>
void dots(int64_t rows, const Number<TYPE>* x, int64_t x_stride, int64_t columns, const Number<TYPE>* w, int64_t w_stride,
          int64_t count, float scale, float* to, int64_t to_stride) {
    for (; columns >= DOT_COLUMNS; columns -= DOT_COLUMNS, w += DOT_COLUMNS * w_stride, to += DOT_COLUMNS) {
        dot_columns<TYPE, DOT_COLUMNS>(rows, x, x_stride, w, w_stride, count, scale, to, to_stride);
    }
    if (columns == 3) dot_columns<TYPE, 3>(rows, x, x_stride, w, w_stride, count, scale, to, to_stride);
    else if (columns == 2) dot_columns<TYPE, 2>(rows, x, x_stride, w, w_stride, count, scale, to, to_stride);
    else if (columns == 1) dot_columns<TYPE, 1>(rows, x, x_stride, w, w_stride, count, scale, to, to_stride);
}

// y += low w for ROWS rows, where w has `rank` rows of `count` numbers.
template <int TYPE, int ROWS>
inline void add_tile(const float* low, int64_t low_stride, const Number<TYPE>* w, int64_t rank, int64_t count,
                     Number<TYPE>* y, int64_t y_stride) {
    for (int64_t at = 0; at < count; at += TILE_VECTORS * LANES) {
        Lanes acc[ROWS][TILE_VECTORS];
        TF_UNROLL for (int row = 0; row < ROWS; ++row) TF_UNROLL for (int v = 0; v < TILE_VECTORS; ++v) {
            const int64_t left = count - at - v * LANES;
            acc[row][v] = left > 0 ? up_to<TYPE>(y + row * y_stride + at + v * LANES, left) : Lanes::all(0.f);
        }
        for (int64_t r = 0; r < rank; ++r) {
            Lanes weights[TILE_VECTORS];
            TF_UNROLL for (int v = 0; v < TILE_VECTORS; ++v) {
                const int64_t left = count - at - v * LANES;
                weights[v] = left > 0 ? up_to<TYPE>(w + r * count + at + v * LANES, left) : Lanes::all(0.f);
            }
            TF_UNROLL for (int row = 0; row < ROWS; ++row) {
                const Lanes own = Lanes::all(low[row * low_stride + r]);
                TF_UNROLL for (int v = 0; v < TILE_VECTORS; ++v) acc[row][v] = own.times_plus(weights[v], acc[row][v]);
            }
        }
        TF_UNROLL for (int row = 0; row < ROWS; ++row) TF_UNROLL for (int v = 0; v < TILE_VECTORS; ++v) {
            const int64_t left = count - at - v * LANES;
            if (left > 0) put<TYPE>(acc[row][v], y + row * y_stride + at + v * LANES, left);
        }
    }
}

template <int TYPE>
void add_outer(int64_t rows, const float* low, int64_t low_stride, const Number<TYPE>* w, int64_t rank, int64_t count,
               Number<TYPE>* y, int64_t y_stride) {
    int64_t row = 0;
    for (; row + TILE_ROWS <= rows; row += TILE_ROWS) {
        add_tile<TYPE, TILE_ROWS>(low + row * low_stride, low_stride, w, rank, count, y + row * y_stride, y_stride);
    }
    for (; row < rows; ++row) {
        add_tile<TYPE, 1>(low + row * low_stride, low_stride, w, rank, count, y + row * y_stride, y_stride);
    }
}

// Gradients of RANKS rows of a weight at up to TILE_VECTORS vectors of its columns: low^T x over all rows.
template <int TYPE, int RANKS>
inline void gradient_tile(int64_t rows, const float* low, int64_t low_stride, const Number<TYPE>* x, int64_t x_stride,
                          int64_t left, Number<TYPE>* to, int64_t to_stride) {
    Lanes acc[RANKS][TILE_VECTORS];
    TF_UNROLL for (int r = 0; r < RANKS; ++r) TF_UNROLL for (int v = 0; v < TILE_VECTORS; ++v) acc[r][v] = Lanes::all(0.f);
    const bool whole = left >= TILE_VECTORS * LANES;
    for (int64_t row = 0; row < rows; ++row) {
        Lanes own[TILE_VECTORS];
        TF_UNROLL for (int v = 0; v < TILE_VECTORS; ++v) {
            const Number<TYPE>* from = x + row * x_stride + v * LANES;
            own[v] = whole              ? Weights<TYPE>::in_order(from)
                     : left > v * LANES ? up_to<TYPE>(from, left - v * LANES)
                                        : Lanes::all(0.f);
        }
        TF_UNROLL for (int r = 0; r < RANKS; ++r) {
            const Lanes factor = Lanes::all(low[row * low_stride + r]);
            TF_UNROLL for (int v = 0; v < TILE_VECTORS; ++v) acc[r][v] = factor.times_plus(own[v], acc[r][v]);
        }
    }
    TF_UNROLL for (int r = 0; r < RANKS; ++r) TF_UNROLL for (int v = 0; v < TILE_VECTORS; ++v) {
        if (left > v * LANES) put<TYPE>(acc[r][v], to + r * to_stride + v * LANES, left - v * LANES);
    }
}

// The columns `column` to `end` of the gradients of `ranks` rows of a weight with `count` columns.
template <int TYPE>
void gradient(int64_t rows, const float* low, int64_t low_stride, int64_t ranks, const Number<TYPE>* x, int64_t x_stride,
              int64_t column, int64_t end, Number<TYPE>* to, int64_t count) {
    for (; column < end; column += TILE_VECTORS * LANES) {
        int64_t r = 0;
        const int64_t left = end - column;
        for (; r + TILE_ROWS <= ranks; r += TILE_ROWS) {
            gradient_tile<TYPE, TILE_ROWS>(rows, low + r, low_stride, x + column, x_stride, left, to + r * count + column,
                                           count);
        }
        for (; r < ranks; ++r) {
            gradient_tile<TYPE, 1>(rows, low + r, low_stride, x + column, x_stride, left, to + r * count + column, count);
        }
    }
}

template <int TYPE>
inline const Number<TYPE>* weights_of(const TfCohort& cohort, const void* first, int64_t job) {
    return static_cast<const Number<TYPE>*>(first) + job * cohort.job_stride;
}

template <int TYPE>
inline Number<TYPE>* row_at(TfCohortRows rows, int64_t row) {
    return static_cast<Number<TYPE>*>(rows.numbers) + row * rows.stride;
}

// Call `function(job, first row, rows)` for each adapter that has rows from `row` to `end`.
template <class Function>
inline void by_job(const TfCohort& cohort, int64_t row, int64_t end, Function function) {
    while (row < end) {
        const int64_t job = row / cohort.rows, last = least((job + 1) * cohort.rows, end);
        function(job, row, last - row);
        row = last;
    }
}

template <int TYPE>
void add_of(const TfCohort& cohort, TfCohortRows x, TfCohortRows y, float* low, int64_t row, int64_t end) {
    const int64_t ranks = cohort.rank * cohort.layers;
    by_job(cohort, row, end, [&](int64_t job, int64_t first, int64_t rows) {
        float* own = low + first * ranks;
        dots<TYPE>(rows, row_at<TYPE>(x, first), x.stride, ranks, weights_of<TYPE>(cohort, cohort.a, job), cohort.inputs,
                   cohort.inputs, static_cast<float>(cohort.scale), own, ranks);
        Number<TYPE>* to = row_at<TYPE>(y, first);
        for (int64_t layer = 0; layer < cohort.layers; ++layer) {
            add_outer<TYPE>(rows, own + layer * cohort.rank, ranks, weights_of<TYPE>(cohort, cohort.b[layer], job),
                            cohort.rank, cohort.outputs[layer], to, y.stride);
            to += cohort.outputs[layer];
        }
    });
}

template <int TYPE>
void back_of(const TfCohort& cohort, TfCohortRows dy, TfCohortRows dx, float* grad_low, int64_t row, int64_t end) {
    const int64_t ranks = cohort.rank * cohort.layers;
    by_job(cohort, row, end, [&](int64_t job, int64_t first, int64_t rows) {
        float* own = grad_low + first * ranks;
        const Number<TYPE>* from = row_at<TYPE>(dy, first);
        for (int64_t layer = 0; layer < cohort.layers; ++layer) {
            const int64_t outputs = cohort.outputs[layer];
            dots<TYPE>(rows, from, dy.stride, cohort.rank, weights_of<TYPE>(cohort, cohort.b[layer], job), outputs, outputs,
                       static_cast<float>(cohort.scale), own + layer * cohort.rank, ranks);
            from += outputs;
        }
        if (dx.numbers == nullptr) return;
        add_outer<TYPE>(rows, own, ranks, weights_of<TYPE>(cohort, cohort.a, job), ranks, cohort.inputs,
                        row_at<TYPE>(dx, first), dx.stride);
    });
}

template <int TYPE>
void gradients_of(const TfCohort& cohort, TfCohortRows x, TfCohortRows dy, const float* low, const float* grad_low,
                  int64_t thread, int64_t threads) {
    const int64_t ranks = cohort.rank * cohort.layers, unit = TILE_VECTORS * LANES;
    const auto share = [&](int64_t count, int64_t part) {
        return least(count, (count + unit - 1) / unit * part / threads * unit);
    };
    for (int64_t job = 0; job < cohort.jobs; ++job) {
        const int64_t first = job * cohort.rows;
        const Number<TYPE>* from = row_at<TYPE>(dy, first);
        for (int64_t layer = 0; layer < cohort.layers; ++layer) {
            const int64_t outputs = cohort.outputs[layer];
            gradient<TYPE>(cohort.rows, low + first * ranks + layer * cohort.rank, ranks, cohort.rank, from, dy.stride,
                           share(outputs, thread), share(outputs, thread + 1),
                           static_cast<Number<TYPE>*>(cohort.grad_b[layer]) + job * cohort.job_stride, outputs);
            from += outputs;
        }
        gradient<TYPE>(cohort.rows, grad_low + first * ranks, ranks, ranks, row_at<TYPE>(x, first), x.stride,
                       share(cohort.inputs, thread), share(cohort.inputs, thread + 1),
                       static_cast<Number<TYPE>*>(cohort.grad_a) + job * cohort.job_stride, cohort.inputs);
    }
}

void add_any(const TfCohort& cohort, TfCohortRows x, TfCohortRows y, float* low, int64_t row, int64_t end) {
    (cohort.type == TF_BFLOAT16 ? add_of<TF_BFLOAT16> : add_of<TF_FLOAT32>)(cohort, x, y, low, row, end);
}

void back_any(const TfCohort& cohort, TfCohortRows dy, TfCohortRows dx, float* grad_low, int64_t row, int64_t end) {
    (cohort.type == TF_BFLOAT16 ? back_of<TF_BFLOAT16> : back_of<TF_FLOAT32>)(cohort, dy, dx, grad_low, row, end);
}

void gradients_any(const TfCohort& cohort, TfCohortRows x, TfCohortRows dy, const float* low, const float* grad_low,
                   int64_t thread, int64_t threads) {
    const auto kernel = cohort.type == TF_BFLOAT16 ? gradients_of<TF_BFLOAT16> : gradients_of<TF_FLOAT32>;
    kernel(cohort, x, dy, low, grad_low, thread, threads);
}

constexpr CohortKernels KERNELS{add_any, back_any, gradients_any};

}  // namespace
