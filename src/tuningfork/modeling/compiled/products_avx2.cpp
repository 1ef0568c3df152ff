#include "products_kernels.h"

extern const ProductKernels tf_products_avx2;
const ProductKernels tf_products_avx2 = KERNELS;
