#include "products_kernels.h"

extern const ProductKernels tf_products_plain;
const ProductKernels tf_products_plain = KERNELS;
