// The decoding step for any processor.

#include "lanes_plain.h"
#include "step_body.h"

TF_SHARE_OF_STEP(tf_step_plain) { begin(model, step, memory, barrier, thread, threads); }
