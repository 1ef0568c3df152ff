// Cohorts for processors with AVX-512.

#include "lanes_avx512.h"
#include "cohorts_kernels.h"

extern const CohortKernels tf_cohorts_avx512;
const CohortKernels tf_cohorts_avx512 = KERNELS;
