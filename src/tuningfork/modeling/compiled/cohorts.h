// The products of trained adapters: forward, and all gradients, at one group of layers. Several adapters of one shape may
// be in one call, each with its own equally long range of rows; see modeling/adapters/cohorts.py.
//
// All sums are in fp32. An adapter's numbers are chains over its own rows and weights in one order, so they depend neither
// on the other adapters nor on the number of threads.
//
// Letters in comments: J adapters, T rows of each, D inputs, O outputs of a layer, R ranks of the layers side by side.
#pragma once

#include <cstdint>

constexpr int TF_MOST_LAYERS = 3;

extern "C" {
struct TfCohort {
    int64_t type;                            // of rows, weights and gradients: TF_FLOAT32 or TF_BFLOAT16
    int64_t jobs, rows, inputs;              // J, T, D
    int64_t rank, layers;                    // the rank of one layer; how many layers the group has
    int64_t outputs[TF_MOST_LAYERS];         // O of each layer
    int64_t job_stride;                      // numbers from one adapter's weights or gradients to the next one's
    const void* a;                           // RD of the first adapter
    const void* b[TF_MOST_LAYERS];           // of each layer, rank x O
    void* grad_a;                            // overwritten, as are the next ones
    void* grad_b[TF_MOST_LAYERS];
    double scale;
};

// Rows that lie `stride` numbers apart, of the cohort's type.
struct TfCohortRows {
    void* numbers;
    int64_t stride;
};
}

struct CohortKernels {
    // low (TR, in fp32) = scale x A^T, and y += low B, for the rows `row` to `end` of all adapters'.
    void (*add)(const TfCohort&, TfCohortRows x, TfCohortRows y, float* low, int64_t row, int64_t end);
    // grad_low = scale dy B^T, and dx += grad_low A (dx null: not so), for these rows.
    void (*back)(const TfCohort&, TfCohortRows dy, TfCohortRows dx, float* grad_low, int64_t row, int64_t end);
    // The gradients of weights: low^T dy and grad_low^T x; the share of one thread.
    void (*gradients)(const TfCohort&, TfCohortRows x, TfCohortRows dy, const float* low, const float* grad_low,
                      int64_t thread, int64_t threads);
};

extern const CohortKernels tf_cohorts_plain;
#if defined(__x86_64__)
extern const CohortKernels tf_cohorts_avx2;
extern const CohortKernels tf_cohorts_avx512;
#endif
