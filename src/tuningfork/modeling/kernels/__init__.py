"""Kernels for NVIDIA GPUs, written in Triton: what torch would take a dozen short ones for.

A small model's step on a GPU is bounded by the number of its kernels and not by what they compute. Before they are
first used on a GPU they are tried there (`proof`). Nothing here is imported on a machine without a GPU, except by
tests, which run the kernels in Triton's interpreter.
"""

from functools import cache
from importlib.util import find_spec
from typing import Literal

import torch
from torch import Tensor

from tuningfork.modeling import shortcuts

Family = Literal["pieces", "adapters", "attention"]
"""Kernels that are used or left together: between a decoder's products, of rows' adapters, over pages."""


def serve(tensor: Tensor, family: Family) -> bool:
    """Whether a family's kernels may take this tensor: it lies on a GPU, on which they compute what they should."""
    return tensor.is_cuda and shortcuts.are_taken() and _is_right(family, tensor.device)


def _is_right(family: Family, device: torch.device) -> bool:
    found = _PROVEN.get((family, device))
    if found is None:
        if torch.cuda.is_current_stream_capturing():
            # A proof looks at numbers, which are not there before a graph is replayed.
            return False
        found = _PROVEN[family, device] = _installed() and _proven(family, device)
    return found


_PROVEN: dict[tuple[Family, torch.device], bool] = {}


def _proven(family: Family, device: torch.device) -> bool:
    from tuningfork.modeling.kernels import proof  # noqa: PLC0415  its reference is written with what asks here

    return proof.is_right(family, device)


@cache
def _installed() -> bool:
    return find_spec("triton") is not None
