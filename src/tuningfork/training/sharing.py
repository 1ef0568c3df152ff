"""Decides how many jobs may share a pass over a base.

On a CPU a job's results must not depend on other jobs, to the last bit. So jobs share passes only where the base's
products and the adapters' give each row the same bits, whatever the number of rows and threads. The compiled ones do
(`modeling/compiled`), and oneDNN's bfloat16 products with AVX-512; those of fp32 libraries do not (docs/log.md).
`jobs_per_pass` tests this on the machine. With AMX (Intel's matrix instructions) oneDNN splits sums by the number of
rows, so jobs share no pass in bfloat16 there.
"""

import torch
from torch import Tensor

from tuningfork.domain.base_model import AdapterShape
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
    if base.decoder is None or (base.dtype == torch.bfloat16 and has_amx()):
        return 1
    layer = base.decoder.layers[0]
    frozen = [*(product.frozen for product in layer.products), base.decoder.head]
    # MKL's batched products in fp32 are not exact for adapters of rank 1.
    is_compiled = base.slots.empty_cohort(1, AdapterShape(rank=1, alpha=1.0)).is_compiled
    if not is_compiled and (base.dtype != torch.bfloat16 or not all(map(_batches_are_exact, frozen))):
        return 1
    return JOBS_ON_CPU if all(map(_exact_by_row, frozen)) else 1


@torch.no_grad()
def _exact_by_row(product: FrozenProduct) -> bool:
    x_TD, grad_TO = _rows_for(product)
    y_TO, grad_TD = product(x_TD), product.backward(grad_TO)
    return all(
        torch.equal(product(x_TD[:rows]), y_TO[:rows]) and torch.equal(product.backward(grad_TO[:rows]), grad_TD[:rows])
        for rows in _ROWS
    )


@torch.no_grad()
def _batches_are_exact(product: FrozenProduct) -> bool:
    """Whether batched products of adapters beside this product are exact."""
    x_TD, grad_TO = _rows_for(product)
    return all(_batch_is_exact(x_TD[:rows], grad_TO[:rows]) for rows in _ROWS)


def _rows_for(product: FrozenProduct) -> tuple[Tensor, Tensor]:
    """Random inputs and gradients of the outputs."""
    draw = torch.Generator().manual_seed(0)
    sizes = product.inputs, product.outputs
    x_TD, grad_TO = (torch.randn(max(_ROWS), size, generator=draw).to(product.dtype) for size in sizes)
    return x_TD, grad_TO


def _batch_is_exact(x_TD: Tensor, grad_TO: Tensor) -> bool:
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
