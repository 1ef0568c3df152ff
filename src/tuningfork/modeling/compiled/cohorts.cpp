// Divides the products of adapters among threads, and calls the kernels of the processor's instruction set.
#include "cohorts.h"

#include "level.h"
#include "threads.h"

namespace {

// A thread takes part for at least so many multiplications.
constexpr int64_t WORTH_A_THREAD = 200000;

const CohortKernels& kernels_of(int level) {
#if defined(__x86_64__)
    if (level >= 2) return tf_cohorts_avx512;
    if (level == 1) return tf_cohorts_avx2;
#endif
    (void)level;
    return tf_cohorts_plain;
}

struct Work {
    const TfCohort& cohort;
    const CohortKernels& kernels;
    TfCohortRows x, y, dx;
    float *low, *grad_low;
};

void add(void* context, int thread, int threads) {
    const Work& work = *static_cast<Work*>(context);
    const int64_t rows = work.cohort.jobs * work.cohort.rows;
    work.kernels.add(work.cohort, work.x, work.y, work.low, rows * thread / threads, rows * (thread + 1) / threads);
}

void back(void* context, int thread, int threads) {
    const Work& work = *static_cast<Work*>(context);
    const int64_t rows = work.cohort.jobs * work.cohort.rows;
    work.kernels.back(work.cohort, work.y, work.dx, work.grad_low, rows * thread / threads, rows * (thread + 1) / threads);
}

void gradients(void* context, int thread, int threads) {
    const Work& work = *static_cast<Work*>(context);
    work.kernels.gradients(work.cohort, work.x, work.y, work.low, work.grad_low, thread, threads);
}

int threads_for(const TfCohort& cohort, int threads) {
    int64_t features = cohort.inputs * cohort.layers;
    for (int64_t layer = 0; layer < cohort.layers; ++layer) features += cohort.outputs[layer];
    const int64_t worth = cohort.jobs * cohort.rows * cohort.rank * features / WORTH_A_THREAD;
    if (threads > worth) threads = static_cast<int>(worth);
    return threads < 1 ? 1 : threads;
}

TfCohortRows rows_at(const void* numbers, int64_t stride) { return {const_cast<void*>(numbers), stride}; }

}  // namespace

extern "C" {

// low = scale x A^T in fp32, and y += low B. Returns 0; 1: the processor has no such level (-1: the highest there is).
__attribute__((visibility("default"))) int tf_cohort_add(const TfCohort* cohort, const void* x, int64_t x_stride, void* y,
                                                         int64_t y_stride, float* low, int threads, int level) {
    if (level > tf_level()) return 1;
    Work work{*cohort, kernels_of(level < 0 ? tf_level() : level), rows_at(x, x_stride), rows_at(y, y_stride), {}, low,
              nullptr};
    tf_parallel(threads_for(*cohort, threads), add, &work);
    return 0;
}

// All gradients of weights, and dx += the gradient of x (null: not computed). `low` is what tf_cohort_add has written,
// `grad_low` as large and overwritten. Returns what tf_cohort_add does.
__attribute__((visibility("default"))) int tf_cohort_backward(const TfCohort* cohort, const void* dy, int64_t dy_stride,
                                                              const void* x, int64_t x_stride, const float* low,
                                                              float* grad_low, void* dx, int64_t dx_stride, int threads,
                                                              int level) {
    if (level > tf_level()) return 1;
    // The kernels do not write to what is only read.
    Work work{*cohort,           kernels_of(level < 0 ? tf_level() : level), rows_at(x, x_stride), rows_at(dy, dy_stride),
              {dx, dx_stride},   const_cast<float*>(low),                    grad_low};
    threads = threads_for(*cohort, threads);
    tf_parallel(threads, back, &work);
    tf_parallel(threads, gradients, &work);
    return 0;
}

// The size of the structure, by which cohorts.py knows that it describes it as it is.
__attribute__((visibility("default"))) int64_t tf_cohort_size() { return sizeof(TfCohort); }
}
