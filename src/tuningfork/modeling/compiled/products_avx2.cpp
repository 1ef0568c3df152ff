// Products for processors with AVX2, FMA and F16C.

#include "lanes_avx2.h"
#include "products_kernels.h"

extern const ProductKernels tf_products_avx2;
const ProductKernels tf_products_avx2 = KERNELS;
