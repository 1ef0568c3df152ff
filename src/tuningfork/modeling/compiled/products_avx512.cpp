// Products for processors with AVX-512.

#include "lanes_avx512.h"
#include "products_kernels.h"

extern const ProductKernels tf_products_avx512;
const ProductKernels tf_products_avx512 = KERNELS;
