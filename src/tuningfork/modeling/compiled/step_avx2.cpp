// The decoding step for processors with AVX2, FMA and F16C.

#include "lanes_avx2.h"
#include "step_body.h"

TF_SHARE_OF_STEP(tf_step_avx2) { begin(model, step, memory, barrier, thread, threads); }
