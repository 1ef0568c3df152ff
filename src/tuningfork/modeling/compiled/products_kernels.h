// The kernels of products, for the instruction set that the including source is compiled for; see products.h.
//
// Forward, an output is the sum of vectors of products along the inputs, block by block of inputs; backward, a chain of
// fused products over the outputs, block by block. A tile keeps several rows and columns in registers, and each number
// of a tile goes its own way, so the size of a tile does not matter to it.
//
// Included after one of the headers `lanes_*.h`, by sources that are compiled for several instruction sets. So everything
// here is in an anonymous namespace, and nothing of the standard library is instantiated: a function compiled for AVX-512
// must not take the place of its twin on a processor without.
#pragma once

#include <cstdint>
#include <cstring>

#include "products.h"
#include "weights.h"

#if defined(__clang__)
#define TF_UNROLL _Pragma("unroll")
#else
#define TF_UNROLL _Pragma("GCC unroll 32")
#endif

namespace {

// The outputs of a tile for one row.
typedef float Four __attribute__((vector_size(16)));
static_assert(sizeof(Four) == 16, "four numbers of four bytes");

inline Four four_at(const float* from) {
    Four numbers;
    std::memcpy(&numbers, from, sizeof numbers);
    return numbers;
}

inline void put_four(float* to, Four numbers) { std::memcpy(to, &numbers, sizeof numbers); }

// Asks for the cache line at this address, which need not be one of ours, to be read into the first cache in advance.
inline void prefetch(const void* address) { __builtin_prefetch(address, 0, 3); }

// Numbers in a vector.
constexpr int LANES = Lanes::count;
// Forward: rows of a tile, columns of a tile, columns that are widened together.
constexpr int TILE_ROWS = LANES == 16 ? 6 : 3;
constexpr int TILE_COLUMNS = 4;
constexpr int GROUP = 8;
// Up to so many rows the weights are widened in registers, for each tile anew.
constexpr int64_t FEW_ROWS = 12;
// The bytes that memory gives at once.
constexpr int LINE = 64;
// The most inputs of a block: GROUP widened columns and the rows of a tile stay in the first cache.
constexpr int64_t MOST_INPUTS = 640;
// Backward: rows and columns of a tile, outputs of a block.
constexpr int BACK_ROWS = LANES == 16 ? 12 : 6;
constexpr int BACK_COLUMNS = 2 * LANES;
constexpr int64_t BACK_OUTPUTS = LANES == 16 ? 192 : 256;

static_assert(GROUP * MOST_INPUTS <= PANEL_FLOATS, "the widened columns fit");
static_assert(BACK_OUTPUTS * BACK_COLUMNS <= PANEL_FLOATS, "the widened block fits");

inline int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
inline int64_t most(int64_t a, int64_t b) { return a < b ? b : a; }
inline int64_t rounded_up(int64_t count) { return (count + LANES - 1) / LANES * LANES; }

// The inputs of a block: about equally many in each, a multiple of LANES.
inline int64_t block_inputs(int64_t inputs) {
    const int64_t blocks = (inputs + MOST_INPUTS - 1) / MOST_INPUTS;
    return rounded_up((inputs + blocks - 1) / blocks);
}

// The stored bytes of a tile's weights for one vector of inputs.
template <int TYPE>
constexpr int tile_bytes() {
    return TILE_COLUMNS * LANES * static_cast<int>(sizeof(typename Weights<TYPE>::Type));
}

template <int TYPE>
inline const typename Weights<TYPE>::Type* row_of(const TfWeights& weights, int64_t output) {
    int64_t part = 0;
    for (; output >= weights.outputs[part]; ++part) output -= weights.outputs[part];
    return static_cast<const typename Weights<TYPE>::Type*>(weights.parts[part]) + output * weights.inputs;
}

// The first `count` numbers, fewer than LANES, and zeros after them.
template <int TYPE>
inline Lanes wide_start(const typename Weights<TYPE>::Type* from, int64_t count) {
    typename Weights<TYPE>::Type filled[LANES] = {};
    std::memcpy(filled, from, static_cast<size_t>(count) * sizeof filled[0]);
    return Weights<TYPE>::in_order(filled);
}

// Widen `count` numbers, and fill up with zeros to `filled`, a multiple of LANES.
template <int TYPE>
inline void widen(const typename Weights<TYPE>::Type* from, int64_t count, int64_t filled, float* to) {
    int64_t at = 0;
    for (; at + LANES <= count; at += LANES) Weights<TYPE>::in_order(from + at).store(to + at);
    if (at < filled) wide_start<TYPE>(from + at, count - at).store(to + at);
}

// Where four outputs of a row go, what their sums are multiplied with, and what is added to them.
struct Place {
    float* to;
    const float* scales;
    const float* bias;
    int count;
    bool is_first, is_last;

    inline void put(Four sums) const {
        if (count == 4) {
            if (!is_first) sums = four_at(to) + sums;
            if (is_last && scales != nullptr) sums = sums * four_at(scales);
            if (is_last && bias != nullptr) sums = sums + four_at(bias);
            put_four(to, sums);
            return;
        }
        for (int at = 0; at < count; ++at) {
            float sum = is_first ? sums[at] : to[at] + sums[at];
            if (is_last && scales != nullptr) sum *= scales[at];
            if (is_last && bias != nullptr) sum += bias[at];
            to[at] = sum;
        }
    }
};

// ROWS x 4 outputs of one block: rows of x `stride` apart, four rows of weights; `inputs` is a multiple of LANES but for
// weights that are widened here. Meanwhile memory is asked for AHEAD bytes for each vector of inputs, from `next` on, one
// line after the other: in this order, and only in this order, memory gives them at its full rate. Null: none.
template <int ROWS, int TYPE, int AHEAD>
inline void tile(const float* x, int64_t stride, const typename Weights<TYPE>::Type* const (&w)[4], int64_t inputs,
                 const char* next, Four (&sums)[ROWS]) {
    Lanes acc[ROWS][4];
    TF_UNROLL for (int row = 0; row < ROWS; ++row) TF_UNROLL for (int n = 0; n < 4; ++n) acc[row][n] = Lanes::all(0.f);
    int64_t at = 0;
    for (; at + LANES <= inputs; at += LANES) {
        Lanes own[ROWS];
        TF_UNROLL for (int row = 0; row < ROWS; ++row) own[row] = Lanes::load(x + row * stride + at);
        if (next != nullptr) {
            TF_UNROLL for (int line = 0; line < AHEAD; line += LINE) prefetch(next + line);
            next += AHEAD;
        }
        TF_UNROLL for (int n = 0; n < 4; ++n) {
            const Lanes weights = Weights<TYPE>::in_order(w[n] + at);
            TF_UNROLL for (int row = 0; row < ROWS; ++row) acc[row][n] = own[row].times_plus(weights, acc[row][n]);
        }
    }
    if (at < inputs) {
        TF_UNROLL for (int n = 0; n < 4; ++n) {
            const Lanes weights = wide_start<TYPE>(w[n] + at, inputs - at);
            TF_UNROLL for (int row = 0; row < ROWS; ++row) {
                acc[row][n] = Lanes::load(x + row * stride + at).times_plus(weights, acc[row][n]);
            }
        }
    }
    TF_UNROLL for (int row = 0; row < ROWS; ++row) {
        float numbers[4];
        Lanes::sums(acc[row][0], acc[row][1], acc[row][2], acc[row][3], numbers);
        sums[row] = four_at(numbers);
    }
}

inline const float* from_column(const float* numbers, int64_t column) {
    return numbers == nullptr ? nullptr : numbers + column;
}

inline void copy_rows(TfRows x, int64_t row, int64_t rows, int64_t from, int64_t count, int64_t filled, float* to) {
    for (int64_t at = 0; at < rows; ++at) {
        widen<TF_FLOAT32>(x.numbers + (row + at) * x.stride + from, count, filled, to + at * filled);
    }
}

inline void scale_rows(float* rows, int64_t count, int64_t stride, const float* scales, int64_t size) {
    for (; count > 0; --count, rows += stride) {
        for (int64_t at = 0; at < size; ++at) rows[at] *= scales[at];
    }
}

// The first ROWS rows at a time of what is left, times four rows of stored weights.
template <int ROWS, int TYPE>
inline void few_rest(int64_t rows, const float* x, int64_t stride, const typename Weights<TYPE>::Type* const (&w)[4],
                     int64_t inputs, Place place, int64_t y_stride, const char* next) {
    if constexpr (ROWS > 0) {
        if (rows != ROWS) return few_rest<ROWS - 1, TYPE>(rows, x, stride, w, inputs, place, y_stride, next);
        Four sums[ROWS];
        tile<ROWS, TYPE, tile_bytes<TYPE>()>(x, stride, w, inputs, next, sums);
        TF_UNROLL for (int row = 0; row < ROWS; ++row) {
            place.put(sums[row]);
            place.to += y_stride;
        }
    }
}

// Few rows: all weights of four columns are read one after the other, and widened in registers for each tile.
template <int TYPE>
void forward_few(const TfWeights& weights, TfRows x, const float* bias, TfRows y, int64_t row, int64_t rows,
                 int64_t column, int64_t columns_end, float* scratch) {
    const int64_t inputs = weights.inputs, stride = rounded_up(inputs), size = block_inputs(inputs);
    copy_rows(x, row, rows, 0, inputs, stride, scratch);
    for (; column < columns_end; column += TILE_COLUMNS) {
        const int count = static_cast<int>(least(TILE_COLUMNS, columns_end - column));
        const typename Weights<TYPE>::Type* whole[4];
        TF_UNROLL for (int n = 0; n < 4; ++n) whole[n] = row_of<TYPE>(weights, column + least(n, count - 1));
        for (int64_t from = 0; from < inputs; from += size) {
            const typename Weights<TYPE>::Type* const w[4] = {whole[0] + from, whole[1] + from, whole[2] + from,
                                                               whole[3] + from};
            const auto next = whole[0] + 2 * TILE_COLUMNS * inputs + TILE_COLUMNS * from;
            for (int64_t at = 0; at < rows; at += TILE_ROWS) {
                const Place place{y.numbers + (row + at) * y.stride + column, from_column(weights.scales, column),
                                  from_column(bias, column), count, from == 0, from + size >= inputs};
                few_rest<TILE_ROWS, TYPE>(least(TILE_ROWS, rows - at), scratch + at * stride + from, stride, w,
                                          least(size, inputs - from), place, y.stride,
                                          at > 0 ? nullptr : reinterpret_cast<const char*>(next));
            }
        }
    }
}

template <int ROWS, int AHEAD>
inline void forward_tile(const float* x, int64_t stride, const float* panel, int64_t filled, Place place,
                         int64_t y_stride, const char* next) {
    const float* const w[4] = {panel, panel + filled, panel + 2 * filled, panel + 3 * filled};
    Four sums[ROWS];
    tile<ROWS, TF_FLOAT32, AHEAD>(x, stride, w, filled, next, sums);
    TF_UNROLL for (int row = 0; row < ROWS; ++row) {
        place.put(sums[row]);
        place.to += y_stride;
    }
}

template <int ROWS, int AHEAD>
inline void forward_rest(int64_t rows, const float* x, int64_t stride, const float* panel, int64_t filled, Place place,
                         int64_t y_stride, const char* next) {
    if constexpr (ROWS > 0) {
        if (rows == ROWS) {
            forward_tile<ROWS, AHEAD>(x, stride, panel, filled, place, y_stride, next);
        } else {
            forward_rest<ROWS - 1, AHEAD>(rows, x, stride, panel, filled, place, y_stride, next);
        }
    }
}

// What the rows of a block are multiplied with: the inputs from `from` on, of the columns from `column` on.
struct Group {
    int64_t from, count, column, columns;
};

// Widens a group's weights, which then stay in the first cache, and multiplies all rows of a block with them. The rows lie
// in `block`, `stride` apart. Memory is asked for as many bytes from `next` on.
template <int TYPE>
inline void forward_group(const TfWeights& weights, const Group& group, const float* block, int64_t stride, TfRows y,
                          int64_t row, int64_t rows, const float* bias, const char* next, float* panel) {
    const int64_t filled = rounded_up(group.count);
    // A tile of fewer than four columns repeats its last one, and leaves out what comes of it.
    for (int64_t n = 0; n < (group.columns + 3) / 4 * 4; ++n) {
        const int64_t output = group.column + least(n, group.columns - 1);
        widen<TYPE>(row_of<TYPE>(weights, output) + group.from, group.count, filled, panel + n * filled);
    }
    for (int64_t at = 0; at < rows; at += TILE_ROWS) {
        for (int64_t n = 0; n < group.columns; n += TILE_COLUMNS) {
            const int64_t output = group.column + n;
            const Place place{y.numbers + (row + at) * y.stride + output, from_column(weights.scales, output),
                              from_column(bias, output), static_cast<int>(least(TILE_COLUMNS, group.columns - n)), group.from == 0,
                              group.from + group.count == weights.inputs};
            const char* own = at > 0 ? nullptr : next + n / TILE_COLUMNS * (filled / LANES) * tile_bytes<TYPE>();
            forward_rest<TILE_ROWS, tile_bytes<TYPE>()>(least(TILE_ROWS, rows - at), block + at * stride, stride,
                                                        panel + n * filled, filled, place, y.stride, own);
        }
    }
}

// Many rows. If whole rows of a block fit into the second cache, all weights of a column are read one after the other.
template <int TYPE>
void forward_many(const TfWeights& weights, TfRows x, const float* bias, TfRows y, int64_t row, int64_t rows_end,
                  int64_t column, int64_t columns_end, float* scratch) {
    const int64_t inputs = weights.inputs, size = block_inputs(inputs), whole = rounded_up(inputs);
    const bool fits = (rows_end - row) * whole <= BLOCK_FLOATS;
    // How many inputs are multiplied before the next block of rows.
    const int64_t span = fits ? whole : size;
    const int64_t block_rows = BLOCK_FLOATS / span / TILE_ROWS * TILE_ROWS;
    float *block = scratch, *panel = scratch + BLOCK_FLOATS;
    for (; row < rows_end; row += block_rows) {
        const int64_t rows = least(most(block_rows, TILE_ROWS), rows_end - row);
        for (int64_t begin = 0; begin < inputs; begin += span) {
            const int64_t end = least(begin + span, inputs), stride = rounded_up(end - begin);
            copy_rows(x, row, rows, begin, end - begin, stride, block);
            for (int64_t own = column; own < columns_end; own += GROUP) {
                const int64_t columns = least(GROUP, columns_end - own);
                const auto next = row_of<TYPE>(weights, own) + GROUP * inputs;
                for (int64_t from = begin; from < end; from += size) {
                    const Group group{from, least(size, end - from), own, columns};
                    forward_group<TYPE>(weights, group, block + from - begin, stride, y, row, rows, bias,
                                        reinterpret_cast<const char*>(next + GROUP * (from - begin)), panel);
                }
            }
        }
    }
}

template <int TYPE>
void forward_of(const TfWeights& weights, TfRows x, const float* bias, TfRows y, int64_t row, int64_t rows_end,
                int64_t column, int64_t columns_end, float* scratch) {
    const int64_t rows = rows_end - row;
    // A few rows of any size of today's models fit into the block; wider ones go the other way, with the same numbers.
    if (rows > FEW_ROWS || rows * rounded_up(weights.inputs) > BLOCK_FLOATS) {
        forward_many<TYPE>(weights, x, bias, y, row, rows_end, column, columns_end, scratch);
    } else {
        forward_few<TYPE>(weights, x, bias, y, row, rows, column, columns_end, scratch);
    }
}

// ROWS x BACK_COLUMNS numbers of dx: dy `stride` apart, widened weights one output after the other.
template <int ROWS>
inline void back_tile(const float* dy, int64_t stride, const float* panel, int64_t outputs, float* dx, int64_t dx_stride,
                      int64_t columns, bool is_first) {
    Lanes acc[ROWS][2];
    TF_UNROLL for (int row = 0; row < ROWS; ++row) acc[row][0] = acc[row][1] = Lanes::all(0.f);
    for (int64_t at = 0; at < outputs; ++at) {
        const Lanes left = Lanes::load(panel + at * BACK_COLUMNS), right = Lanes::load(panel + at * BACK_COLUMNS + LANES);
        TF_UNROLL for (int row = 0; row < ROWS; ++row) {
            const Lanes own = Lanes::all(dy[row * stride + at]);
            acc[row][0] = own.times_plus(left, acc[row][0]);
            acc[row][1] = own.times_plus(right, acc[row][1]);
        }
    }
    TF_UNROLL for (int row = 0; row < ROWS; ++row) {
        float* to = dx + row * dx_stride;
        float edge[BACK_COLUMNS];
        const bool whole = columns == BACK_COLUMNS;
        if (!whole) std::memcpy(edge, to, static_cast<size_t>(columns) * sizeof(float));
        float* place = whole ? to : edge;
        (is_first ? acc[row][0] : Lanes::load(place) + acc[row][0]).store(place);
        (is_first ? acc[row][1] : Lanes::load(place + LANES) + acc[row][1]).store(place + LANES);
        if (!whole) std::memcpy(to, edge, static_cast<size_t>(columns) * sizeof(float));
    }
}

template <int ROWS>
inline void back_rest(int64_t rows, const float* dy, int64_t stride, const float* panel, int64_t outputs, float* dx,
                      int64_t dx_stride, int64_t columns, bool is_first) {
    if constexpr (ROWS > 0) {
        if (rows == ROWS) {
            back_tile<ROWS>(dy, stride, panel, outputs, dx, dx_stride, columns, is_first);
        } else {
            back_rest<ROWS - 1>(rows, dy, stride, panel, outputs, dx, dx_stride, columns, is_first);
        }
    }
}

template <int TYPE>
void backward_of(const TfWeights& weights, TfRows dy, TfRows dx, int64_t row, int64_t rows_end, int64_t column,
                 int64_t columns_end, float* scratch) {
    int64_t all = 0;
    for (int64_t part = 0; part < weights.count; ++part) all += weights.outputs[part];
    constexpr int64_t block_rows = BLOCK_FLOATS / BACK_OUTPUTS / BACK_ROWS * BACK_ROWS;
    float *block = scratch, *panel = scratch + BLOCK_FLOATS;
    const typename Weights<TYPE>::Type* w[BACK_OUTPUTS];
    for (int64_t from = 0; from < all; from += BACK_OUTPUTS) {
        const int64_t outputs = least(BACK_OUTPUTS, all - from), filled = rounded_up(outputs);
        for (int64_t at = 0; at < outputs; ++at) w[at] = row_of<TYPE>(weights, from + at);
        for (int64_t begin = row; begin < rows_end; begin += block_rows) {
            const int64_t rows = least(block_rows, rows_end - begin);
            copy_rows(dy, begin, rows, from, outputs, filled, block);
            if (weights.scales != nullptr) scale_rows(block, rows, filled, weights.scales + from, outputs);
            for (int64_t group = column; group < columns_end; group += BACK_COLUMNS) {
                const int64_t columns = least(BACK_COLUMNS, columns_end - group);
                for (int64_t at = 0; at < outputs; ++at) {
                    widen<TYPE>(w[at] + group, columns, rounded_up(columns), panel + at * BACK_COLUMNS);
                }
                for (int64_t at = 0; at < rows; at += BACK_ROWS) {
                    back_rest<BACK_ROWS>(least(BACK_ROWS, rows - at), block + at * filled, filled, panel, outputs,
                                         dx.numbers + (begin + at) * dx.stride + group, dx.stride, columns, from == 0);
                }
            }
        }
    }
}

void forward_any(const TfWeights& weights, TfRows x, const float* bias, TfRows y, int64_t row, int64_t rows_end,
                 int64_t column, int64_t columns_end, float* scratch) {
    const auto kernel = weights.type == TF_BFLOAT16  ? forward_of<TF_BFLOAT16>
                        : weights.type == TF_FLOAT16 ? forward_of<TF_FLOAT16>
                        : weights.type == TF_INT8    ? forward_of<TF_INT8>
                                                     : forward_of<TF_FLOAT32>;
    kernel(weights, x, bias, y, row, rows_end, column, columns_end, scratch);
}

void backward_any(const TfWeights& weights, TfRows dy, TfRows dx, int64_t row, int64_t rows_end, int64_t column,
                  int64_t columns_end, float* scratch) {
    const auto kernel = weights.type == TF_BFLOAT16  ? backward_of<TF_BFLOAT16>
                        : weights.type == TF_FLOAT16 ? backward_of<TF_FLOAT16>
                        : weights.type == TF_INT8    ? backward_of<TF_INT8>
                                                     : backward_of<TF_FLOAT32>;
    kernel(weights, dy, dx, row, rows_end, column, columns_end, scratch);
}

constexpr ProductKernels KERNELS{forward_any, backward_any, GROUP, BACK_COLUMNS};

}  // namespace
