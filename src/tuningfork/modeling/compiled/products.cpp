// Divides products among threads, and calls the kernels of the processor's instruction set.
#include "products.h"

#include <cstdlib>

#include "level.h"
#include "threads.h"

namespace {

// A thread takes part for at least so many multiplications: some ten microseconds.
constexpr int64_t WORTH_A_THREAD = 200000;
constexpr int64_t LEAST_ROWS = 12;

// Each thread's own place for widened weights and copied rows, kept until the thread ends.
class Scratch {
   public:
    ~Scratch() { std::free(numbers_); }
    float* numbers() {
        if (numbers_ == nullptr) numbers_ = static_cast<float*>(std::aligned_alloc(64, SCRATCH_FLOATS * sizeof(float)));
        return numbers_;
    }

   private:
    float* numbers_ = nullptr;
};
thread_local Scratch scratch;

struct Work {
    const TfWeights* weights;
    TfRows in, out;
    const float* bias;
    const ProductKernels* kernels;
    int64_t rows, columns, step;
    int threads;
    bool is_backward;
    bool failed;
};

void part(Work& work, int64_t row, int64_t rows_end, int64_t column, int64_t columns_end) {
    float* place = scratch.numbers();
    if (place == nullptr) {
        work.failed = true;
        return;
    }
    if (work.is_backward) {
        work.kernels->backward(*work.weights, work.in, work.out, row, rows_end, column, columns_end, place);
    } else {
        work.kernels->forward(*work.weights, work.in, work.bias, work.out, row, rows_end, column, columns_end, place);
    }
}

// The columns are divided first, in multiples of `step`; if there are too few of them, the rows too.
void body(void* context, int thread, int threads) {
    Work& work = *static_cast<Work*>(context);
    const int64_t steps = (work.columns + work.step - 1) / work.step;
    const int64_t across = steps < threads ? steps : threads;
    int64_t down = threads / across;
    if (down > work.rows / LEAST_ROWS) down = work.rows / LEAST_ROWS;
    if (down < 1) down = 1;
    if (thread >= across * down) return;
    const int64_t own = thread % across, below = thread / across;
    int64_t end = (own + 1) * steps / across * work.step;
    if (end > work.columns) end = work.columns;
    part(work, below * work.rows / down, (below + 1) * work.rows / down, own * steps / across * work.step, end);
}

const ProductKernels& kernels_of(int level) {
#if defined(__x86_64__)
    if (level >= 2) return tf_products_avx512;
    if (level == 1) return tf_products_avx2;
#endif
    (void)level;
    return tf_products_plain;
}

int run(Work& work, int level, int threads) {
    if (level > tf_level()) return 1;
    if (work.rows == 0 || work.columns == 0) return 0;
    work.kernels = &kernels_of(level < 0 ? tf_level() : level);
    work.step = work.is_backward ? work.kernels->backward_step : work.kernels->forward_step;
    int64_t outputs = 0;
    for (int64_t at = 0; at < work.weights->count; ++at) outputs += work.weights->outputs[at];
    const int64_t worth = work.rows * outputs * work.weights->inputs / WORTH_A_THREAD;
    if (threads > worth) threads = static_cast<int>(worth);
    tf_parallel(threads < 1 ? 1 : threads, body, &work);
    return work.failed ? 2 : 0;
}

}  // namespace

extern "C" {

// y = x W^T + bias. Returns 0; 1: the processor has no such level (-1: the highest there is); 2: no memory is left.
__attribute__((visibility("default"))) int tf_product(const TfWeights* weights, const float* x, int64_t x_stride,
                                                      int64_t rows, const float* bias, float* y, int64_t y_stride,
                                                      int threads, int level) {
    int64_t outputs = 0;
    for (int64_t at = 0; at < weights->count; ++at) outputs += weights->outputs[at];
    // The kernels do not write to what is only read.
    Work work{weights, {const_cast<float*>(x), x_stride}, {y, y_stride}, bias, nullptr, rows, outputs, 1, threads,
              false,   false};
    return run(work, level, threads);
}

// dx = dy W; returns what tf_product does.
__attribute__((visibility("default"))) int tf_product_backward(const TfWeights* weights, const float* dy,
                                                               int64_t dy_stride, int64_t rows, float* dx,
                                                               int64_t dx_stride, int threads, int level) {
    Work work{weights, {const_cast<float*>(dy), dy_stride}, {dx, dx_stride}, nullptr, nullptr, rows, weights->inputs,
              1,       threads,                             true,            false};
    return run(work, level, threads);
}
}
