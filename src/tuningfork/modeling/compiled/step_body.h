// A decoding step: rows with one new token each through all layers, by several threads that wait for each other after
// each phase. Included once for each set of instructions, after the header of its vectors.
#pragma once

#include <cmath>
#include <cstring>

#include "lanes_math.h"
#include "step_products.h"
#include "step_attention.h"
#include "step_memory.h"

namespace {

// Waits until all threads have come.
inline void wait(TfBarrier& barrier, int threads) {
    if (threads == 1) return;
    const int own = __atomic_load_n(&barrier.round, __ATOMIC_RELAXED);
    if (__atomic_add_fetch(&barrier.arrived, 1, __ATOMIC_ACQ_REL) == threads) {
        __atomic_store_n(&barrier.arrived, 0, __ATOMIC_RELAXED);
        __atomic_store_n(&barrier.round, own + 1, __ATOMIC_RELEASE);
        return;
    }
    for (int turns = 0; __atomic_load_n(&barrier.round, __ATOMIC_ACQUIRE) == own; ++turns) tf_pause(turns);
}

inline int64_t outputs_of(const TfProduct& product) {
    int64_t sum = 0;
    for (int64_t part = 0; part < product.parts; ++part) sum += product.outputs[part];
    return sum;
}

// What one thread needs to know of the step.
struct Worker {
    const TfModel& model;
    const TfStep& step;
    const TfMemory& memory;
    TfBarrier& barrier;
    int threads;
    float* scratch;
    float* low;                              // x A of one row
    int64_t phase = 0;

    // Compute the tasks of a phase, each by the thread that is free first; then wait for all threads.
    template <class Task>
    inline void share(int64_t tasks, Task task) {
        int64_t* counter = memory.counters + phase++;
        for (;;) {
            const int64_t own = __atomic_fetch_add(counter, 1, __ATOMIC_RELAXED);
            if (own >= tasks) break;
            task(own);
        }
        wait(barrier, threads);
    }
};

// x A B of the row's adapter at a group of layers, added to y.
template <class Kind>
inline void add_adapter(const TfRank& tables, int64_t place, const TfProduct& product, const float* x, float* low,
                        float* y) {
    low_of<Kind>(tables.a[product.group], place, product.inputs, tables.rank * product.layers, x, low);
    for (int64_t layer = 0; layer < product.layers; ++layer) {
        const void* b = tables.b[product.group * TF_MOST_PARTS + layer];
        add_high<Kind>(b, place, tables.rank, product.layer_outputs[layer], low + layer * tables.rank, y);
        y += product.layer_outputs[layer];
    }
}

// Whether the outputs of a product are added to what `hand_over` has written.
inline bool adds(const Worker& w, const TfProduct& product) {
    return product.bias || (product.group >= 0 && w.step.rank_count > 0);
}

template <int type>
inline void prepare(const float* x, int64_t inputs, float* prepared) {
    Factors<type>::prepare(x, inputs, reinterpret_cast<typename Factors<type>::Row*>(prepared));
}

// A row as a product reads it; and in y, to which the product adds, the bias and what the row's adapter gives.
inline void hand_over(const Worker& w, const TfProduct& product, int64_t row, const float* x, float* y) {
    float* prepared = w.memory.prepared + row * w.memory.prepared_stride;
    if (product.type == TF_FLOAT32) prepare<TF_FLOAT32>(x, product.inputs, prepared);
    else if (product.type == TF_BFLOAT16) prepare<TF_BFLOAT16>(x, product.inputs, prepared);
    else if (product.type == TF_INT8) prepare<TF_INT8>(x, product.inputs, prepared);
    else prepare<TF_FLOAT16>(x, product.inputs, prepared);
    if (!adds(w, product)) return;
    const int64_t outputs = outputs_of(product);
    if (product.bias) std::memcpy(y, product.bias, sizeof(float) * outputs);
    else std::memset(y, 0, sizeof(float) * outputs);
    const TfRow& own = w.step.rows[row];
    if (own.rank < 0 || product.group < 0) return;
    const TfRank& tables = w.step.ranks[own.rank];
    float* low = w.low;
    if (tables.type == TF_FLOAT32) add_adapter<Weights<TF_FLOAT32>>(tables, own.place, product, x, low, y);
    else if (tables.type == TF_BFLOAT16) add_adapter<Weights<TF_BFLOAT16>>(tables, own.place, product, x, low, y);
    else add_adapter<Weights<TF_FLOAT16>>(tables, own.place, product, x, low, y);
}

// The outputs `begin` to `end` of a product for all rows; row b's are at y + b * stride.
inline void compute(const Worker& w, const TfProduct& product, int64_t begin, int64_t end, float* y, int64_t stride) {
    const int64_t rows = w.step.row_count, inputs = product.inputs, x_stride = w.memory.prepared_stride;
    const float* x = w.memory.prepared;
    const Outputs all{y, stride, product.scales, adds(w, product)};
    int64_t first = 0;
    for (int64_t part = 0; part < product.parts; ++part) {
        const int64_t outputs = product.outputs[part];
        const int64_t from = begin > first ? begin : first, to = end < first + outputs ? end : first + outputs;
        if (from < to) {
            const int64_t skipped = (from - first) * inputs, count = to - from;
            const char* weights = static_cast<const char*>(product.weights[part]);
            const Outputs own = all.from(0, from);
            if (product.type == TF_FLOAT32)
                block<Factors<TF_FLOAT32>>(weights + 4 * skipped, inputs, count, x, x_stride, rows, own);
            else if (product.type == TF_BFLOAT16)
                block<Factors<TF_BFLOAT16>>(weights + 2 * skipped, inputs, count, x, x_stride, rows, own);
            else if (product.type == TF_INT8)
                block<Factors<TF_INT8>>(weights + skipped, inputs, count, x, x_stride, rows, own);
            else
                block<Factors<TF_FLOAT16>>(weights + 2 * skipped, inputs, count, x, x_stride, rows, own);
        }
        first += outputs;
    }
}

constexpr int64_t TASK_BYTES = 96 * 1024;    // of weights; they stay in a core's second cache for all rows

// How many outputs a task computes: as many as fit into a core's cache, and few enough that all threads have tasks.
inline int64_t outputs_per_task(const Worker& w, const TfProduct& product, int64_t outputs) {
    constexpr int64_t UNIT = 24;             // a multiple of every number of outputs that `tiles` computes at once
    const int64_t bytes = product.inputs * (product.type == TF_FLOAT32 ? 4 : product.type == TF_INT8 ? 1 : 2);
    const int64_t cached = TASK_BYTES / (bytes * UNIT), shared = outputs / (4 * w.threads * UNIT);
    const int64_t units = cached < shared || w.threads == 1 ? cached : shared;
    return UNIT * (units > 1 ? units : 1);
}

template <class After>
inline void multiply(Worker& w, const TfProduct& product, int64_t outputs, float* y, int64_t stride, After after) {
    const int64_t each = outputs_per_task(w, product, outputs);
    w.share((outputs + each - 1) / each, [&](int64_t task) {
        const int64_t begin = task * each, end = begin + each < outputs ? begin + each : outputs;
        compute(w, product, begin, end, y, stride);
        after(begin, end);
    });
}

// The residual stream of a row plus the output of the product before; then what the next product reads.
inline void next_input(const Worker& w, const TfNorm& after, bool added, const TfNorm& norm, const TfProduct& product,
                       int64_t row, float* y) {
    const int64_t hidden = w.model.hidden;
    float *stream = w.step.stream + row * hidden, *own = w.memory.added + row * hidden;
    if (added) {
        if (after.weight) normalize(after, own, hidden, own);
        for (int64_t i = 0; i < hidden; ++i) stream[i] += own[i];
    }
    normalize(norm, stream, hidden, w.scratch);
    hand_over(w, product, row, w.scratch, y);
}

// The partial sums of a chunk of a row's tokens, for the query heads of one key/value head. Whoever computes the last
// chunk writes the new token's key and value to the cache before.
template <class Kind, bool whole>
inline void attend_chunk(const Worker& w, const TfLayer& layer, int64_t row, int64_t group, int64_t index) {
    const TfModel& model = w.model;
    const TfRow& own = w.step.rows[row];
    const int64_t size = model.head_size, wide = tf_padded(size, TF_HEAD_PADDING);
    const int64_t members = model.heads / model.key_heads;
    const int64_t seen = layer.window && own.end > layer.window ? own.end - layer.window : 0;
    const int64_t begin = index * TF_CHUNK < seen ? seen : index * TF_CHUNK;
    const int64_t end = (index + 1) * TF_CHUNK < own.end ? (index + 1) * TF_CHUNK : own.end;
    const Chunk chunk(own.pages, model.page_tokens, begin, end, size);
    const TfRotation* rotation = layer.rotation < 0 ? nullptr : w.step.rotations + layer.rotation;
    const float* heads = w.memory.heads + row * w.memory.heads_stride;
    auto* keys = static_cast<typename Kind::Type*>(layer.keys) + group * model.cache_places * size;
    auto* values = static_cast<typename Kind::Type*>(layer.values) + group * model.cache_places * size;
    float *query = w.scratch, *scores = query + wide;
    if (end == own.end) {
        const int64_t place = chunk.at[chunk.count - 1];
        const float* value = heads + (model.heads + model.key_heads + group) * size;
        position(layer.key_norm, rotation, row, heads + (model.heads + group) * size, size, query);
        for (int64_t i = 0; i < size; ++i) Kind::write(query[i], keys + place + i);
        for (int64_t i = 0; i < size; ++i) Kind::write(value[i], values + place + i);
    }
    for (int64_t i = size; i < wide; ++i) query[i] = 0.f;
    float* partial = w.memory.partials + (w.memory.chunks_before[row] + index) * model.heads * tf_partial_size(size);
    for (int64_t head = group * members; head < (group + 1) * members; ++head) {
        float* to = partial + head * tf_partial_size(size);
        position(layer.query_norm, rotation, row, heads + head * size, size, query);
        scores_of<Kind, whole>(query, keys, size, chunk, scores);
        weights_of(scores, chunk.count, static_cast<float>(layer.scaling), static_cast<float>(layer.softcap), to,
                   to + 1);
        sums_of<Kind, whole>(scores, values, size, chunk, to + 2);
    }
}

inline int64_t first_chunk(const TfLayer& layer, const TfRow& row) {
    return layer.window && row.end > layer.window ? (row.end - layer.window) / TF_CHUNK : 0;
}

inline int64_t chunks_of(const TfLayer& layer, const TfRow& row) {
    return (row.end + TF_CHUNK - 1) / TF_CHUNK - first_chunk(layer, row);
}

inline void attend(Worker& w, const TfLayer& layer) {
    const int64_t groups = w.model.key_heads, rows = w.step.row_count;
    int64_t tasks = 0;
    for (int64_t row = 0; row < rows; ++row) tasks += groups * chunks_of(layer, w.step.rows[row]);
    w.share(tasks, [&](int64_t task) {
        int64_t row = 0;
        for (int64_t own; task >= (own = groups * chunks_of(layer, w.step.rows[row])); ++row) task -= own;
        const int64_t chunk = first_chunk(layer, w.step.rows[row]) + task / groups, group = task % groups;
        const bool exact = w.model.cache_type == TF_FLOAT32, whole = w.model.head_size % Lanes::count == 0;
        if (exact && whole) attend_chunk<Weights<TF_FLOAT32>, true>(w, layer, row, group, chunk);
        else if (exact) attend_chunk<Weights<TF_FLOAT32>, false>(w, layer, row, group, chunk);
        else if (whole) attend_chunk<Weights<TF_BFLOAT16>, true>(w, layer, row, group, chunk);
        else attend_chunk<Weights<TF_BFLOAT16>, false>(w, layer, row, group, chunk);
    });
    w.share(rows, [&](int64_t row) {
        const int64_t size = w.model.head_size, stride = w.model.heads * tf_partial_size(size);
        const int64_t first = first_chunk(layer, w.step.rows[row]);
        const float* partial = w.memory.partials + (w.memory.chunks_before[row] + first) * stride;
        for (int64_t head = 0; head < w.model.heads; ++head) {
            combine(partial + head * tf_partial_size(size), stride, chunks_of(layer, w.step.rows[row]), size,
                    w.scratch + head * size);
        }
        hand_over(w, layer.out, row, w.scratch, w.memory.added + row * w.model.hidden);
    });
}

// act(gate) * up of the features `begin` to `end`, in place of the gate.
inline void gate(const Worker& w, int64_t begin, int64_t end) {
    const int64_t features = w.model.features;
    for (int64_t row = 0; row < w.step.row_count; ++row) {
        float *own = w.memory.inner + row * 2 * features, *up = own + features;
        if (w.model.gelu) map(own + begin, own + begin, end - begin, [](Lanes x) { return gelu(x); });
        else map(own + begin, own + begin, end - begin, [](Lanes x) { return silu(x); });
        for (int64_t i = begin; i < end; ++i) own[i] *= up[i];
    }
}

inline void go_through(Worker& w, const TfLayer& layer, const TfLayer* before) {
    const TfModel& model = w.model;
    const int64_t rows = w.step.row_count, features = model.features;
    const auto nothing = [](int64_t, int64_t) {};
    const TfNorm none{nullptr, 0};
    w.share(rows, [&](int64_t row) {
        float* y = w.memory.heads + row * w.memory.heads_stride;
        next_input(w, before ? before->after_mlp : none, before, layer.attention_norm, layer.query_key_value, row, y);
    });
    multiply(w, layer.query_key_value, w.memory.heads_stride, w.memory.heads, w.memory.heads_stride, nothing);
    attend(w, layer);
    multiply(w, layer.out, model.hidden, w.memory.added, model.hidden, nothing);
    w.share(rows, [&](int64_t row) {
        float* y = w.memory.inner + row * 2 * features;
        next_input(w, layer.after_attention, true, layer.mlp_norm, layer.gate_up, row, y);
    });
    // A task computes the gate and the up of the same features.
    multiply(w, layer.gate_up, features, w.memory.inner, 2 * features, [&](int64_t begin, int64_t end) {
        compute(w, layer.gate_up, features + begin, features + end, w.memory.inner, 2 * features);
        gate(w, begin, end);
    });
    w.share(rows, [&](int64_t row) {
        hand_over(w, layer.down, row, w.memory.inner + row * 2 * features, w.memory.added + row * model.hidden);
    });
    multiply(w, layer.down, model.hidden, w.memory.added, model.hidden, nothing);
}

inline void work(Worker& w) {
    const TfModel& model = w.model;
    const TfLayer* last = nullptr;
    for (int64_t index = 0; index < model.layer_count; ++index) {
        go_through(w, model.layers[index], last);
        last = model.layers + index;
    }
    const int64_t words = outputs_of(model.head);
    w.share(w.step.row_count, [&](int64_t row) {
        next_input(w, last->after_mlp, true, model.norm, model.head, row, w.step.logits + row * words);
    });
    const float cap = static_cast<float>(model.logit_softcap);
    multiply(w, model.head, words, w.step.logits, words, [&](int64_t begin, int64_t end) {
        if (!cap) return;
        for (int64_t row = 0; row < w.step.row_count; ++row) {
            float* own = w.step.logits + row * words + begin;
            map(own, own, end - begin,
                [&](Lanes x) { return hyperbolic_tangent(x / Lanes::all(cap)) * Lanes::all(cap); });
        }
    });
}

inline void begin(const TfModel& model, const TfStep& step, const TfMemory& memory, TfBarrier& barrier, int thread,
                  int threads) {
    float* scratch = memory.scratch + thread * memory.scratch_stride;
    Worker own{model, step, memory, barrier, threads, scratch, scratch + memory.scratch_stride - memory.low_size};
    work(own);
}

}  // namespace
