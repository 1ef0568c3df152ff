"""Decides how many jobs may share a pass over a base.

On a CPU a job's results must not depend on other jobs, to the last bit. So jobs share passes only where the base's
products and batched products give each row the same bits, whatever the number of rows and threads. oneDNN's bfloat16
products with AVX-512 do; those of fp32 libraries do not (docs/log.md). `jobs_per_pass` tests this on the machine. With
AMX (Intel's matrix instructions) oneDNN splits sums by the number of rows, so jobs share no pass there.
"""

import torch
from torch import Tensor

from tuningfork.modeling.decoder.products import FrozenProduct
from tuningfork.modeling.device.processor import has_amx
from tuningfork.modeling.loading import LoadedBase

JOBS_ON_GPU = 16
"""The most jobs that share a pass on a GPU, where a small job's time is bound by kernel launches, not by arithmetic."""

JOBS_ON_CPU = 8

_ROWS = (16, 48, 80, 200)
_RANK = 8


def jobs_per_pass(base: LoadedBase) -> int:
    """The largest number of jobs that gain by sharing a pass; 1 on a CPU where sharing would change bits."""
    if base.device.type == "cuda":
        return JOBS_ON_GPU
    if base.decoder is None or base.dtype != torch.bfloat16 or has_amx():
        return 1
    layer = base.decoder.layers[0]
    frozen = [product.frozen for product in layer.products]
    return JOBS_ON_CPU if all(_exact_by_row(each) for each in (*frozen, base.decoder.head)) else 1


@torch.no_grad()
def _exact_by_row(product: FrozenProduct) -> bool:
    outputs, inputs, dtype = product.outputs, product.inputs, product.dtype
    draw = torch.Generator().manual_seed(0)
    most = max(_ROWS)
    x_TD = torch.randn(most, inputs, generator=draw).to(dtype)
    grad_TO = torch.randn(most, outputs, generator=draw).to(dtype)
    y_TO, grad_TD = product(x_TD), product.backward(grad_TO)
    return all(
        torch.equal(product(x_TD[:rows]), y_TO[:rows])
        and torch.equal(product.backward(grad_TO[:rows]), grad_TD[:rows])
        and _batches_are_exact(x_TD[:rows], grad_TO[:rows])
        for rows in _ROWS
    )


def _batches_are_exact(x_TD: Tensor, grad_TO: Tensor) -> bool:
    """Whether batched products and sums over rows equal separate ones bit by bit, also with rows of zeros added."""
    zeros = x_TD.new_zeros(32, _RANK)
    low_TR = x_TD[:, :_RANK].contiguous()
    filled = [torch.cat((each, each.new_zeros(len(zeros), each.shape[1]))) for each in (x_TD, grad_TO, low_TR)]
    several = [torch.stack((each.flip(1), each, each.flip(0))) for each in filled]
    for wide, one in ((0, x_TD), (1, grad_TO)):
        alone = torch.bmm(low_TR.t()[None], one[None])[0]
        if not torch.equal(torch.bmm(several[2].transpose(1, 2), several[wide])[1], alone):
            return False
    b_RO = grad_TO[:_RANK].contiguous()
    alone = torch.bmm(low_TR[None], b_RO[None])[0]
    return torch.equal(torch.bmm(several[2], b_RO.expand(3, -1, -1).contiguous())[1, : len(low_TR)], alone)
