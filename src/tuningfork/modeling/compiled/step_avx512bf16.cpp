// The decoding step for processors with AVX-512 BF16: rows are rounded to bfloat16 where weights are in bfloat16.

#define TF_ROUNDED_ROWS
#include "lanes_avx512.h"
#include "step_body.h"

TF_SHARE_OF_STEP(tf_step_avx512bf16) { begin(model, step, memory, barrier, thread, threads); }
