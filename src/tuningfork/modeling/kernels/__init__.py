"""The operations between a decoder's matrix products: in plain torch, and as Triton kernels for NVIDIA GPUs.

On a GPU the time of a small model's step depends on the number of kernels rather than on their work, so each Triton
kernel here replaces a dozen short ones of torch. A base's kernels are chosen when it is loaded (`choice`). Triton is
imported only on a machine with a GPU, and by tests, which run the kernels in Triton's interpreter. Knows no models.
"""
