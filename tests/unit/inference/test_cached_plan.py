"""Attention from the cache is attention over the whole sequence, however rows are grouped."""

import pytest
import torch
from torch import Tensor

from tuningfork.inference.cached_plan import CachedPlan, Span
from tuningfork.inference.kv_cache import PAGE_TOKENS, KvCache, LayerShape
from tuningfork.modeling.attention.plans import PackedPlan

HEADS, GROUPS, SIZE = 4, 2, 8


def whole(tensors: list[Tensor], how: dict) -> Tensor:
    """Without a cache: `THK` of one sequence."""
    return PackedPlan((tensors[0].shape[1],)).attend(0, *tensors, **how)


@pytest.mark.parametrize("softcap", [None, 2.0])
@pytest.mark.parametrize("sliding_window", [None, 20, 500])
@pytest.mark.parametrize(
    "lengths",
    [(1,), (70,), (700,), (5, 33, 64), (3, 700), (700, 3), (20, 40, 300, 310, 900)],
    ids=lambda lengths: "+".join(map(str, lengths)),
)
def test_the_last_tokens_of_sequences_of_any_length_attend_as_without_a_cache(lengths, sliding_window, softcap):
    torch.manual_seed(0)
    how = {"scaling": 0.35, "sliding_window": sliding_window, "softcap": softcap}
    sequences = [[torch.randn(heads, n, SIZE) for heads in (HEADS, GROUPS, GROUPS)] for n in lengths]
    cache = KvCache({0: LayerShape(GROUPS, SIZE, SIZE)}, pages=80, dtype=torch.float32, device=torch.device("cpu"))
    pages: list[list[int]] = [[] for _ in lengths]
    # Everything but the last two tokens; then one of them; then the other.
    for begins, ends in (
        ([0] * len(lengths), [max(0, n - 2) for n in lengths]),
        ([max(0, n - 2) for n in lengths], [n - 1 for n in lengths]),
        ([n - 1 for n in lengths], list(lengths)),
    ):
        fed = [index for index, (begin, end) in enumerate(zip(begins, ends, strict=True)) if begin < end]
        if not fed:
            continue
        for index in fed:
            assert cache.extend(pages[index], ends[index])
        plan = CachedPlan(cache, [Span(pages[index], begins[index], ends[index]) for index in fed])
        packed = [
            torch.cat([sequences[index][part][:, begins[index] : ends[index]] for index in fed], dim=1)
            for part in range(3)
        ]
        wanted = [whole(sequences[index], how)[begins[index] : ends[index]] for index in fed]
        torch.testing.assert_close(plan.attend(0, *packed, **how), torch.cat(wanted), rtol=1e-4, atol=1e-5)


def test_long_and_short_rows_are_not_padded_to_one_length():
    cache = KvCache({0: LayerShape(1, 2, 2)}, pages=200, dtype=torch.float32, device=torch.device("cpu"))
    spans = []
    for length in (5, 9, 100, 50 * PAGE_TOKENS, 60 * PAGE_TOKENS):
        pages: list[int] = []
        cache.extend(pages, length)
        spans.append(Span(pages, length - 1, length))
    assert [group.tokens for group in CachedPlan(cache, spans)._groups] == [3, 2]
