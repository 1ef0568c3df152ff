#include "products_kernels.h"

extern const ProductKernels tf_products_avx512;
const ProductKernels tf_products_avx512 = KERNELS;
