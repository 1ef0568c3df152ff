// Cohorts for any processor.

#define TF_PLAIN_LANES 4
#include "lanes_plain.h"
#include "cohorts_kernels.h"

extern const CohortKernels tf_cohorts_plain;
const CohortKernels tf_cohorts_plain = KERNELS;
