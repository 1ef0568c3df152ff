// Products for any processor.

#define TF_PLAIN_LANES 4
#include "lanes_plain.h"
#include "products_kernels.h"

extern const ProductKernels tf_products_plain;
const ProductKernels tf_products_plain = KERNELS;
