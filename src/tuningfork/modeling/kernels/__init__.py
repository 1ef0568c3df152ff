"""Kernels for NVIDIA GPUs, written in Triton: what torch would take a dozen short ones for.

A small model's step on a GPU is bounded by the number of its kernels and not by what they compute. Nothing here is
imported on a machine without a GPU, except by tests, which run the kernels in Triton's interpreter.
"""

from functools import cache
from importlib.util import find_spec

from torch import Tensor


def serve(tensor: Tensor) -> bool:
    """Whether kernels may take this tensor: it lies on a GPU, and Triton is there, which torch brings."""
    return tensor.is_cuda and _installed()


@cache
def _installed() -> bool:
    return find_spec("triton") is not None
