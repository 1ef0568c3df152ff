"""The kernels that serve give what torch gives, in Triton's interpreter where there is no GPU."""

import pytest
import torch

from engine_runs import Run, greedy, loud_adapter, request
from tiny_models import Architecture, tiny_base_model
from tuningfork.inference.engine import InferenceEngine
from tuningfork.modeling.adapters.slots import BASE_ALONE
from tuningfork.modeling.device.capture import reexecution
from tuningfork.modeling.kernels.adapter_rows import add_rows
from tuningfork.modeling.kernels.base import Kernels, NewTokens
from tuningfork.modeling.kernels.paged_attention import attend_rows
from tuningfork.modeling.kernels.plain import PLAIN
from tuningfork.modeling.kernels.triton_kernels import TRITON
from tuningfork.modeling.loading import load_base

pytestmark = pytest.mark.slow

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
        (64, 600, (60, 32)),
        (64, 90, (33,)),
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


PAGE = 32


def wanted_attention(query_BHK, keys_GXK, values_GXV, pages_BP, ends_B, *, scaling, sliding_window, softcap):
    rows = []
    for query_HK, pages_P, end in zip(query_BHK.double(), pages_BP, ends_B.tolist(), strict=True):
        first = 0 if sliding_window is None else max(0, end - sliding_window)
        tokens_S = torch.arange(first, end, device=DEVICE)
        places_S = pages_P[tokens_S // PAGE] * PAGE + tokens_S % PAGE
        members = len(query_HK) // len(keys_GXK)
        keys_HSK, values_HSV = (
            each[:, places_S].double().repeat_interleave(members, 0) for each in (keys_GXK, values_GXV)
        )
        scores_HS = torch.einsum("hk,hsk->hs", query_HK, keys_HSK) * scaling
        if softcap is not None:
            scores_HS = torch.tanh(scores_HS / softcap) * softcap
        rows.append(torch.einsum("hs,hsv->hv", scores_HS.softmax(-1), values_HSV))
    return torch.stack(rows)


@pytest.mark.parametrize("splits", [None, 1, 2, 5])
@pytest.mark.parametrize(
    ("members", "size", "value_size", "sliding_window", "softcap", "dtype"),
    [
        (1, 64, 64, None, None, torch.float32),
        (3, 64, 64, 40, None, torch.bfloat16),
        (4, 96, 96, None, 5.0, torch.float32),
        (8, 128, 128, 500, None, torch.float16),
        (3, 20, 48, 1, 2.0, torch.float32),
        (17, 160, 160, 65, None, torch.bfloat16),
    ],
)
def test_a_new_token_attends_to_its_rows_pages(members, size, value_size, sliding_window, softcap, dtype, splits):
    groups, ends, pages = 2, [1, 33, 64, 200], 40
    keys_GXK = numbers(groups, pages * PAGE, size, dtype=dtype)
    values_GXV = numbers(groups, pages * PAGE, value_size, dtype=dtype, seed=1)
    order = (torch.randperm(pages - 1, generator=torch.Generator().manual_seed(1)) + 1).tolist()
    pages_BP = torch.zeros((len(ends), 8), dtype=torch.long)
    for row, end in enumerate(ends):
        count = -(-end // PAGE)
        pages_BP[row, :count] = torch.tensor([order.pop() for _ in range(count)])
    pages_BP, ends_B = pages_BP.to(DEVICE), torch.tensor(ends, device=DEVICE)
    # As slices of what one product gave.
    all_BLK = numbers(len(ends), groups * (members + 1), size, dtype=dtype, seed=2)
    query_BHK, key_BGK = torch.split(all_BLK, [groups * members, groups], dim=1)
    value_BGV = numbers(len(ends), groups, value_size, dtype=dtype, seed=3)
    last_B = ends_B - 1
    places_B = pages_BP.gather(1, last_B[:, None] // PAGE)[:, 0] * PAGE + last_B % PAGE
    right = [keys_GXK.clone(), values_GXV.clone()]
    right[0][:, places_B], right[1][:, places_B] = key_BGK.transpose(0, 1), value_BGV.transpose(0, 1)
    how = {"scaling": size**-0.5, "sliding_window": sliding_window, "softcap": softcap}
    wanted_BHV = wanted_attention(query_BHK, *right, pages_BP, ends_B, **how)
    # What lies in the cache where nobody has written is never looked at.
    keys_GXK[:, :PAGE], values_GXV[:, :PAGE] = torch.nan, torch.nan
    keys_GXK[:, places_B], values_GXV[:, places_B] = torch.nan, torch.nan
    how |= {"page_tokens": PAGE, "splits": splits}
    new = NewTokens(key_BGK, value_BGV, places_B)
    ours_BHV = attend_rows(query_BHK, keys_GXK, values_GXV, pages_BP, ends_B, new=new, **how)
    assert ours_BHV.dtype == dtype
    tolerance = TOLERANCES[dtype]
    torch.testing.assert_close(ours_BHV.double(), wanted_BHV, rtol=tolerance, atol=tolerance)
    assert torch.equal(keys_GXK[:, PAGE:], right[0][:, PAGE:])
    assert torch.equal(values_GXV[:, PAGE:], right[1][:, PAGE:])
    again_BHV = attend_rows(query_BHK, keys_GXK, values_GXV, pages_BP, ends_B, **how)
    torch.testing.assert_close(again_BHV.double(), wanted_BHV, rtol=tolerance, atol=tolerance)


class Noted:
    """A family of kernels that notes that it was used."""

    def __init__(self, kernels, name, used):
        self._kernels, self._name, self._used = kernels, name, used

    def __getattr__(self, operation):
        self._used.add(self._name)
        return getattr(self._kernels, operation)


@pytest.mark.parametrize(
    ("architecture", "capture"),
    [("llama", reexecution), ("gemma3", reexecution), ("gemma3", None)],
    ids=["llama_buffers", "gemma3_buffers", "gemma3_ordinary"],
)
def test_an_engine_says_the_same_with_kernels(tiny_directories, architecture, capture, caplog):
    model = tiny_base_model(Architecture(architecture), tiny_directories[architecture])

    def answers(kernels):
        base = load_base(model, dtype=torch.float32, device=DEVICE, kernels=kernels)
        slots = [base.slots.load(loud_adapter(base, rank, rank)) for rank in (4, 4, 8)] + [BASE_ALONE]
        asked = [
            request(f"{length} {slot}", list(range(length)), slot, greedy(3))
            for length, slot in zip((1, 31, 2, 17), slots, strict=True)
        ]
        return Run(InferenceEngine(base, capture=capture)).add(*asked).to_end()

    used: set[str] = set()
    # The layers' kernels have tests of their own, and take long in the interpreter.
    ours = Kernels(
        layers=PLAIN.layers,
        adapters=Noted(TRITON.adapters, "adapters", used),
        attention=Noted(TRITON.attention, "attention", used),
    )
    assert answers(ours) == answers(PLAIN)
    assert used == {"adapters", "attention"}
    assert not caplog.records
