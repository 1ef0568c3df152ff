"""The kernels that serve give what torch gives, in Triton's interpreter where there is no GPU."""

import pytest
import torch

from tuningfork.modeling.kernels.adapter_rows import add_rows

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
TOLERANCES = {torch.float32: 1e-5, torch.bfloat16: 2e-2, torch.float16: 2e-3}
DTYPES = [torch.float32, torch.bfloat16, torch.float16]


def numbers(*shape: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed + sum(shape))
    return torch.randn(shape, generator=generator).to(DEVICE, dtype)


def wanted_rows(x_YD, a_CDR, bs_CRO, rank, places_B, y_YO, rows_B):
    wanted_YO = y_YO.double()
    for index, place in enumerate(places_B.tolist()):
        row = index if rows_B is None else int(rows_B[index])
        begin = 0
        for layer, b_CRO in enumerate(bs_CRO if place >= 0 else ()):
            end = begin + b_CRO.shape[2]
            low_R = x_YD[row].double() @ a_CDR[place, :, layer * rank : (layer + 1) * rank].double()
            wanted_YO[row, begin:end] += low_R @ b_CRO[place].double()
            begin = end
    return wanted_YO


@pytest.mark.parametrize("dtype", DTYPES, ids=["fp32", "bf16", "fp16"])
@pytest.mark.parametrize(
    ("rank", "inputs", "outputs"),
    [
        (1, 33, (5,)),
        (4, 64, (129, 31)),
        (8, 300, (160, 32, 33)),
        (8, 4500, (64,)),
        (24, 50, (40, 20, 130, 7)),
        (64, 200, (60, 32)),
    ],
)
def test_each_row_gets_its_own_adapters_share(rank, inputs, outputs, dtype):
    places = 3
    x_YD = numbers(6, 2 * inputs, dtype=dtype)[:, :inputs]
    a_CDR = numbers(places, inputs, rank * len(outputs), dtype=dtype) / inputs**0.5
    bs_CRO = [numbers(places, rank, each, dtype=dtype, seed=each) / rank**0.5 for each in outputs]
    for chosen, rows in (([2, -1, 0, 2, 1, -1], None), ([1, -1, 0], [5, 0, 3])):
        places_B = torch.tensor(chosen, dtype=torch.int32, device=DEVICE)
        rows_B = None if rows is None else torch.tensor(rows, device=DEVICE)
        y_YO = numbers(6, sum(outputs) + 3, dtype=dtype, seed=9)[:, : sum(outputs)]
        before_YO, wanted_YO = y_YO.clone(), wanted_rows(x_YD, a_CDR, bs_CRO, rank, places_B, y_YO, rows_B)
        add_rows(x_YD, a_CDR, bs_CRO, rank, places_B, y_YO, rows_B)
        scale = TOLERANCES[dtype]
        torch.testing.assert_close(y_YO.double(), wanted_YO, rtol=scale, atol=scale)
        served = {row for row, place in zip(rows or range(6), chosen, strict=True) if place >= 0}
        for row in set(range(6)) - served:
            assert torch.equal(y_YO[row], before_YO[row])


def test_no_rows_are_no_work():
    y_YO = numbers(2, 8)
    before_YO = y_YO.clone()
    nobody_B = torch.empty(0, dtype=torch.int32, device=DEVICE)
    add_rows(numbers(2, 4), numbers(1, 4, 2), [numbers(1, 2, 8)], 2, nobody_B, y_YO)
    assert torch.equal(y_YO, before_YO)


def test_numbers_that_are_none_stay_in_their_row():
    a_CDR, b_CRO = numbers(2, 40, 4), numbers(2, 4, 50)
    a_CDR[1] = torch.nan
    y_YO = numbers(3, 50)
    add_rows(numbers(3, 40), a_CDR, [b_CRO], 4, torch.tensor([0, 1, -1], device=DEVICE), y_YO)
    assert y_YO.isfinite().all(-1).tolist() == [True, False, True]
