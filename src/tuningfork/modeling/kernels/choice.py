"""Chooses the kernels of a base, once, when it is loaded."""

from importlib.util import find_spec

import torch

from tuningfork.modeling.kernels.base import Kernels
from tuningfork.modeling.kernels.plain import PLAIN
from tuningfork.modeling.kernels.proof import correct_kernels


def kernels_for(device: torch.device, *, gpu_shortcuts: bool) -> Kernels:
    """Test the kernels on this device, and return the fastest that give correct results.

    A kernel that breaks the GPU's context ends the process, which no test can prevent. In that case the operator has to
    turn `gpu_shortcuts` off.

    Args:
        device: the base's device.
        gpu_shortcuts: whether Triton kernels may be tested and used; if not, plain operations of torch are used.

    """
    if device.type != "cuda" or not gpu_shortcuts or find_spec("triton") is None:
        return PLAIN
    # Imported here, since it imports Triton, which is not installed everywhere.
    from tuningfork.modeling.kernels.triton_kernels import TRITON  # noqa: PLC0415

    return correct_kernels(TRITON, device)
