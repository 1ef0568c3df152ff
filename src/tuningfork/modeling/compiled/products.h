// Products of fp32 rows with frozen weights of one, two or four bytes, forward and backward.
//
// Weights are the parts of one matrix W, one below the other, each row-major with `inputs` numbers a row. They are read
// where they lie, such as in a mapped file, and widened to fp32. All sums are in fp32, each in one order that depends on
// the shape of W and on the instruction set only: not on the number of rows, nor on that of threads.
#pragma once

#include <cstdint>

extern "C" {
struct TfWeights {
    const void* const* parts;
    const int64_t* outputs;  // rows of each part
    int64_t count;
    int64_t inputs;
    int32_t type;         // 0 fp32, 1 bf16, 2 fp16, 3 int8
    const float* scales;  // what the weights of each output are to be multiplied with; null: with nothing
};

// Rows of numbers, `stride` numbers apart.
struct TfRows {
    float* numbers;
    int64_t stride;
};
}

struct ProductKernels {
    // Outputs of these rows and columns: y = x W^T + bias (null: none). `scratch` has SCRATCH_FLOATS numbers.
    void (*forward)(const TfWeights&, TfRows x, const float* bias, TfRows y, int64_t row, int64_t rows_end,
                    int64_t column, int64_t columns_end, float* scratch);
    // dx = dy W, for these rows and these columns of W.
    void (*backward)(const TfWeights&, TfRows dy, TfRows dx, int64_t row, int64_t rows_end, int64_t column,
                     int64_t columns_end, float* scratch);
    // Columns are best divided into multiples of these.
    int64_t forward_step, backward_step;
};

// 256 KiB of rows, which stay in the second cache, and the widened weights that stay in the first one.
constexpr int64_t BLOCK_FLOATS = 65536, PANEL_FLOATS = 8192;
constexpr int64_t SCRATCH_FLOATS = BLOCK_FLOATS + PANEL_FLOATS;

extern const ProductKernels tf_products_plain;
#if defined(__x86_64__)
extern const ProductKernels tf_products_avx2;
extern const ProductKernels tf_products_avx512;
#endif
