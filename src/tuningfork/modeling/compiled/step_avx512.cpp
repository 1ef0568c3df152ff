// The decoding step for processors with AVX-512.

#include "lanes_avx512.h"
#include "step_body.h"

TF_SHARE_OF_STEP(tf_step_avx512) { begin(model, step, memory, barrier, thread, threads); }
