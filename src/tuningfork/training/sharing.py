"""How many jobs may share a pass over a base.

On a CPU a job's numbers are promised to the last bit, whoever else is trained. They may share passes only where the
base's products, and batched ones, give each row the same bits however many rows there are, and on however many threads:
oneDNN's bfloat16 products do, those of fp32 libraries do not (docs/log.md). That is asked of this machine, not assumed.
"""

import torch
from torch import Tensor

from tuningfork.modeling.decoder.products import FrozenProduct
from tuningfork.modeling.loading import LoadedBase

JOBS_ON_GPU = 16
"""There launches, not arithmetic, bound a small job."""

JOBS_ON_CPU = 8

_ROWS = (16, 48, 80, 200)
_RANK = 8


def jobs_per_pass(base: LoadedBase) -> int:
    """The most that gain by it and, on a CPU, lose nothing."""
    if base.device.type == "cuda":
        return JOBS_ON_GPU
    if base.decoder is None or base.dtype != torch.bfloat16:
        return 1
    layer = base.decoder.layers[0]
    frozen = [product.frozen for product in layer.products]
    return JOBS_ON_CPU if all(_exact_by_row(each) for each in (*frozen, base.decoder.head)) else 1


@torch.no_grad()
def _exact_by_row(product: FrozenProduct) -> bool:
    outputs, inputs = product.weight_OD.shape
    draw = torch.Generator().manual_seed(0)
    most = max(_ROWS)
    x_TD = torch.randn(most, inputs, generator=draw).to(product.weight_OD.dtype)
    slope_TO = torch.randn(most, outputs, generator=draw).to(product.weight_OD.dtype)
    y_TO, slope_TD = product(x_TD), product.backward(slope_TO)
    return all(
        torch.equal(product(x_TD[:rows]), y_TO[:rows])
        and torch.equal(product.backward(slope_TO[:rows]), slope_TD[:rows])
        and _batches_are_exact(x_TD[:rows], slope_TO[:rows])
        for rows in _ROWS
    )


def _batches_are_exact(x_TD: Tensor, slope_TO: Tensor) -> bool:
    """Whether a batch's products, and sums over rows, are what they are alone, and with rows of zeros behind them."""
    zeros = x_TD.new_zeros(32, _RANK)
    low_TR = x_TD[:, :_RANK].contiguous()
    filled = [torch.cat((each, each.new_zeros(len(zeros), each.shape[1]))) for each in (x_TD, slope_TO, low_TR)]
    several = [torch.stack((each.flip(1), each, each.flip(0))) for each in filled]
    for wide, one in ((0, x_TD), (1, slope_TO)):
        alone = torch.bmm(low_TR.t()[None], one[None])[0]
        if not torch.equal(torch.bmm(several[2].transpose(1, 2), several[wide])[1], alone):
            return False
    b_RO = slope_TO[:_RANK].contiguous()
    alone = torch.bmm(low_TR[None], b_RO[None])[0]
    return torch.equal(torch.bmm(several[2], b_RO.expand(3, -1, -1).contiguous())[1, : len(low_TR)], alone)
