// Cohorts for processors with AVX2, FMA and F16C.

#include "lanes_avx2.h"
#include "cohorts_kernels.h"

extern const CohortKernels tf_cohorts_avx2;
const CohortKernels tf_cohorts_avx2 = KERNELS;
