// The functions that step.py calls; see step_types.h for what they are given.

#include <sched.h>

#include <cstring>

#include "level.h"
#include "step_memory.h"
#include "threads.h"

#define TF_EXPORT extern "C" __attribute__((visibility("default")))

void tf_pause(int turns) {
    if (turns < 2000) {
#if defined(__x86_64__)
        __builtin_ia32_pause();
#endif
    } else {
        sched_yield();
    }
}

namespace {

int64_t larger(int64_t one, int64_t other) { return one > other ? one : other; }

int64_t chunks_of(const TfStep& step, int64_t row) { return (step.rows[row].end + TF_CHUNK - 1) / TF_CHUNK; }

// The parts of a workspace that begins at this address; null: only strides and size are valid.
TfMemory memory_of(const TfModel& model, const TfStep& step, char* workspace) {
    TfMemory memory{};
    const int64_t rows = step.row_count, attended = model.heads * model.head_size;
    int64_t rank = 0, chunks = 0;
    for (int64_t row = 0; row < rows; ++row) {
        chunks += chunks_of(step, row);
        if (step.rows[row].rank >= 0) rank = larger(rank, step.ranks[step.rows[row].rank].rank);
    }
    const int64_t widest = larger(larger(model.hidden, model.features), attended);
    memory.prepared_stride = tf_padded(widest, TF_ROW_PADDING);
    memory.low_size = tf_padded(rank * TF_MOST_PARTS, TF_ROW_PADDING);
    memory.heads_stride = attended + 2 * model.key_heads * model.head_size;
    memory.scratch_stride =
        tf_padded(larger(widest, tf_padded(model.head_size, TF_HEAD_PADDING) + TF_CHUNK + TF_HEAD_PADDING), 64) +
        memory.low_size;
    const auto take = [&](int64_t bytes) {
        char* part = workspace + memory.bytes;
        memory.bytes += tf_padded(bytes, 64);
        return part;
    };
    const auto floats = [&](int64_t count) { return reinterpret_cast<float*>(take(4 * count)); };
    memory.counters = reinterpret_cast<int64_t*>(take(8 * (9 * model.layer_count + 2)));
    memory.chunks_before = reinterpret_cast<int64_t*>(take(8 * rows));
    memory.prepared = floats(rows * memory.prepared_stride);
    memory.heads = floats(rows * memory.heads_stride);
    memory.added = floats(rows * model.hidden);
    memory.inner = floats(rows * 2 * model.features);
    memory.partials = floats(chunks * model.heads * tf_partial_size(model.head_size));
    memory.scratch = floats(step.threads * memory.scratch_stride);
    return memory;
}

struct Shared {
    const TfModel& model;
    const TfStep& step;
    TfMemory memory;
    TfBarrier barrier;
};

void share(void* context, int thread, int threads) {
    Shared& own = *static_cast<Shared*>(context);
#if defined(__x86_64__)
    if (own.step.level >= 3) return tf_step_avx512bf16(own.model, own.step, own.memory, own.barrier, thread, threads);
    if (own.step.level == 2) return tf_step_avx512(own.model, own.step, own.memory, own.barrier, thread, threads);
    if (own.step.level == 1) return tf_step_avx2(own.model, own.step, own.memory, own.barrier, thread, threads);
#endif
    tf_step_plain(own.model, own.step, own.memory, own.barrier, thread, threads);
}

}  // namespace

// The size in bytes of the workspace that a step needs.
TF_EXPORT int64_t tf_step_bytes(const TfModel* model, const TfStep* step) {
    return memory_of(*model, *step, nullptr).bytes;
}

// The sizes of the structures, by which step.py knows that it describes them as they are.
TF_EXPORT void tf_step_sizes(int64_t* sizes) {
    const int64_t own[] = {sizeof(TfProduct), sizeof(TfNorm),     sizeof(TfLayer), sizeof(TfModel),
                           sizeof(TfRank),    sizeof(TfRotation), sizeof(TfRow),   sizeof(TfStep)};
    std::memcpy(sizes, own, sizeof own);
}

// Run the rows through the model: writes their keys and values to the cache, and their logits. Returns 0, or 1 if this
// processor lacks the instructions of the given level.
TF_EXPORT int32_t tf_step(const TfModel* model, const TfStep* step) {
    if (step->level > tf_level()) return 1;
    Shared shared{*model, *step, memory_of(*model, *step, static_cast<char*>(step->workspace)), TfBarrier{}};
    std::memset(shared.memory.counters, 0, 8 * (9 * model->layer_count + 2));
    int64_t chunks = 0;
    for (int64_t row = 0; row < step->row_count; ++row) {
        shared.memory.chunks_before[row] = chunks;
        chunks += chunks_of(*step, row);
    }
    tf_parallel(static_cast<int>(step->threads), share, &shared);
    return 0;
}
