// What step.py hands to a decoding step: the model, the cache, and the rows. The structures there mirror these.
//
// Letters in comments: B rows, D hidden features, K head size, H query heads, G key/value heads, C adapters that a table
// has room for, R rank of one layer, X places of the cache, S features that are rotated.
#pragma once

#include <cstdint>

constexpr int TF_MOST_PARTS = 3;

// y = W x + b. The weights are in up to three matrices, one below the other; each is row by row without gaps.
struct TfProduct {
    const void* weights[TF_MOST_PARTS];
    int64_t outputs[TF_MOST_PARTS];
    int64_t parts;
    int64_t inputs;
    int64_t type;                            // of the weights: a TfType
    const float* scales;                     // what the weights of each output are to be multiplied with; null: nothing
    const float* bias;                       // null: none
    int64_t group;                           // index of the group of layers whose adapters add to y; -1: none
    int64_t layers;                          // how many layers the group has
    int64_t layer_outputs[TF_MOST_PARTS];    // of each layer of the group
};

struct TfNorm {
    const float* weight;                     // null: there is no norm
    double epsilon;
};

struct TfLayer {
    TfNorm attention_norm, query_norm, key_norm, after_attention, mlp_norm, after_mlp;
    TfProduct query_key_value, out, gate_up, down;
    void* keys;                              // GXK
    void* values;                            // GXK
    int64_t rotation;                        // index of the rotation; -1: none
    double scaling;
    int64_t window;                          // 0: none
    double softcap;                          // 0: none
};

struct TfModel {
    const TfLayer* layers;
    int64_t layer_count;
    TfNorm norm;
    TfProduct head;
    double logit_softcap;                    // 0: none
    int64_t hidden, heads, key_heads, head_size, features;
    int64_t gelu;                            // 0: the activation is SiLU, 1: GELU approximated by tanh
    int64_t cache_places;                    // X
    int64_t page_tokens;
    int64_t cache_type;
};

// The tables of all adapters of one rank: for each group CDR, all layers of the group side by side, and for each group
// and layer CRO.
struct TfRank {
    int64_t rank;
    int64_t type;
    const void* const* a;                    // by group
    const void* const* b;                    // by group, TF_MOST_PARTS for each
};

struct TfRotation {
    const float* cosines;                    // BS
    const float* sines;                      // BS; the first half is negated
    int64_t size;                            // S
};

struct TfRow {
    const int32_t* pages;
    int64_t end;                             // how many tokens the row has, the new one included
    int64_t rank;                            // index of the adapter's tables; -1: no adapter
    int64_t place;                           // the adapter's index in the tables
};

struct TfStep {
    const TfRow* rows;
    int64_t row_count;
    const TfRank* ranks;
    int64_t rank_count;
    const TfRotation* rotations;
    float* stream;                           // BD: the embeddings; overwritten
    float* logits;                           // BV
    void* workspace;
    int64_t threads;
    int64_t level;                           // as tf_level
};
