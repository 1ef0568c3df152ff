"""Which types the processor computes in natively, according to its flags and to a trial of oneDNN.

A processor without bfloat16 products, such as most laptops' with AVX2 only, can still compute in bfloat16, but one
number at a time: about a hundred times slower than in float32 (docs/log.md). oneDNN refuses some of the operations.
"""

from collections.abc import Mapping
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import linear

_FLAGS = ("avx512_bf16", "amx_bf16", "bf16")
"""Flags of processors with bfloat16 products: x86 with AVX-512 BF16 or AMX, and Arm."""

_TYPICAL_ROWS = 64
"""The number of rows for which oneDNN rearranges weights. Products may have any number of rows."""


def native_dtype(device: torch.device) -> torch.dtype:
    """The narrowest type in which the device computes natively: bfloat16, or else float32."""
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.get_device_capability(device) >= (8, 0) else torch.float32
    return torch.bfloat16 if device.type == "cpu" and computes_bfloat16() else torch.float32


def computes_bfloat16() -> bool:
    """Whether bfloat16 products are computed natively on this CPU.

    The processor's flags are not enough: oneDNN can be restricted (`ONEDNN_MAX_CPU_ISA`), and torch can be built
    without it. So oneDNN is also tried.
    """
    return _has_any(*_FLAGS) and rearranges(torch.bfloat16)


def has_amx() -> bool:
    """Whether the processor has AMX, Intel's matrix instructions, for bfloat16."""
    return _has_any("amx_bf16")


def _has_any(*flags: str) -> bool:
    # Only new releases of torch have this function. With older ones no flag is found, and bases run in float32, which
    # is slower but correct.
    capabilities: Mapping[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return any(capabilities.get(flag) for flag in flags)


@cache
def rearranges(dtype: torch.dtype) -> bool:
    """Whether oneDNN can rearrange weights of this type and multiply with them; tried once in each process.

    Without AVX-512 it refuses bfloat16 weights.
    """
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return False
    draw = torch.Generator().manual_seed(0)
    weight_OD, x_TD = (torch.randn(rows, 64, generator=draw).to(dtype) for rows in (96, 3))
    try:
        y_TO = rearranged_linear(x_TD, rearranged(weight_OD), None)
    except (AttributeError, NotImplementedError, RuntimeError):
        # The operators are private to torch: another release may lack them.
        return False
    exact_TO = linear(x_TD.float(), weight_OD.float())
    return torch.allclose(y_TO.float(), exact_TO, rtol=2**-7, atol=0.1)


def rearranged(weight_OD: Tensor) -> Any:
    """A copy of the weights in the order in which oneDNN reads them.

    Raises:
        RuntimeError: oneDNN does not take weights of this type on this processor; ask `rearranges` first.

    """
    return torch.ops.mkldnn._reorder_linear_weight(weight_OD, _TYPICAL_ROWS)  # noqa: SLF001  inductor's own operator


def rearranged_linear(x_TD: Tensor, weights: Any, bias_O: Tensor | None) -> Tensor:
    """`y = W x + b`, shape `TO`, with weights from `rearranged`."""
    y_TO: Tensor = torch.ops.mkldnn._linear_pointwise(x_TD, weights, bias_O, "none", [], "")  # noqa: SLF001
    return y_TO
