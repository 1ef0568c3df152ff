// The memory of a decoding step between its phases, and how its threads wait for each other.
#pragma once

#include <cstdint>

#include "step_types.h"

constexpr int64_t TF_CHUNK = 128;            // tokens of which attention computes partial sums
constexpr int64_t TF_ROW_PADDING = 64;       // rows that products read are padded with zeros to a multiple of this
constexpr int64_t TF_HEAD_PADDING = 16;      // likewise queries

static inline int64_t tf_padded(int64_t size, int64_t multiple) { return (size + multiple - 1) / multiple * multiple; }

// Partial sums of a chunk: the largest score, the sum of the weights, and the weighted sums of the features.
static inline int64_t tf_partial_size(int64_t head_size) { return tf_padded(head_size, TF_HEAD_PADDING) + 2; }

// Parts of the workspace; row b of a part begins at b times its stride.
struct TfMemory {
    int64_t* counters;                       // tasks begun, by phase
    int64_t* chunks_before;                  // of rows before each row
    float* prepared;                         // what the next product reads
    float* heads;                            // queries, keys and values
    float* added;                            // what is added to the residual stream next
    float* inner;                            // gate and up; then their product in place of the gate
    float* partials;                         // of attention
    float* scratch;                          // of the first thread; the others' follow
    int64_t prepared_stride, heads_stride, scratch_stride;
    int64_t low_size;                        // of the last part of a thread's scratch: a row times an adapter's A
    int64_t bytes;                           // of the whole workspace
};

struct TfBarrier {
    int arrived = 0;
    int round = 0;
};

// A turn of a thread that waits: busy at first, then it leaves the core to others.
void tf_pause(int turns);

// The share of one thread in a step, for each set of instructions.
#define TF_SHARE_OF_STEP(name) \
    void name(const TfModel& model, const TfStep& step, const TfMemory& memory, TfBarrier& barrier, int thread, \
              int threads)
TF_SHARE_OF_STEP(tf_step_plain);
TF_SHARE_OF_STEP(tf_step_avx2);
TF_SHARE_OF_STEP(tf_step_avx512);
TF_SHARE_OF_STEP(tf_step_avx512bf16);
