"""Pages go to one owner or to several, come back, and never carry an earlier owner's numbers into weights of zero."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tuningfork.inference.kv_cache import PAGE_TOKENS, KvCache, LayerShape, pages_for, planned_pages, probed_shapes
from tuningfork.modeling.loading import load_base

SHAPES = {0: LayerShape(2, 4, 4), 1: LayerShape(1, 8, 6)}


def cache(pages: int = 6) -> KvCache:
    return KvCache(SHAPES, pages=pages, dtype=torch.float32, device=torch.device("cpu"))


@pytest.mark.parametrize(("tokens", "pages"), [(0, 0), (1, 1), (PAGE_TOKENS, 1), (PAGE_TOKENS + 1, 2)])
def test_tokens_take_whole_pages(tokens, pages):
    assert pages_for(tokens) == pages


def test_a_sequence_takes_pages_only_as_it_grows():
    pool, pages = cache(), []
    assert pool.extend(pages, 1)
    assert pool.extend(pages, PAGE_TOKENS)
    assert pool.free_pages == 5
    assert pool.extend(pages, PAGE_TOKENS + 1)
    assert (len(set(pages)), pool.free_pages) == (2, 4)


def test_a_sequence_that_does_not_fit_takes_nothing():
    pool, pages = cache(), []
    assert not pool.extend(pages, 6 * PAGE_TOKENS + 1)
    assert (pages, pool.free_pages) == ([], 6)
    assert pool.extend(pages, pool.capacity_tokens)


def test_shared_pages_come_back_with_their_last_owner():
    pool, first = cache(), []
    pool.extend(first, 2 * PAGE_TOKENS + 3)
    second = pool.share(first, 2 * PAGE_TOKENS + 3)
    assert second[:2] == first[:2]
    assert second[2] != first[2]
    assert pool.free_pages == 2
    pool.release(first)
    assert (first, pool.free_pages) == ([], 3)
    pool.release(second)
    assert pool.free_pages == 6


def test_a_partly_filled_page_is_copied_for_the_second_owner():
    pool, first = cache(), []
    pool.extend(first, 3)
    for layer in SHAPES:
        store = pool.store(layer)
        store.keys_GXK[:, first[0] * PAGE_TOKENS] = 5
        store.values_GXK[:, first[0] * PAGE_TOKENS] = 7
    second = pool.share(first, 3)
    for layer in SHAPES:
        keys_GSK, values_GSK = pool.store(layer).gather(torch.tensor(second))
        assert (keys_GSK[:, 0] == 5).all()
        assert (values_GSK[:, 0] == 7).all()


def test_sharing_whole_pages_needs_no_free_one_and_a_copy_does():
    pool, first = cache(pages=1), []
    pool.extend(first, PAGE_TOKENS)
    assert pool.share(first, PAGE_TOKENS) == first
    assert pool.share(first, PAGE_TOKENS - 1) is None


def test_the_last_page_handed_out_is_blank_whatever_was_in_it():
    pool, pages = cache(), []
    pool.extend(pages, 6 * PAGE_TOKENS)
    for layer in SHAPES:
        pool.store(layer).values_GXK[:, PAGE_TOKENS:] = torch.nan
    pool.release(pages)
    pool.extend(pages, 1)
    for layer in SHAPES:
        assert not pool.store(layer).gather(torch.tensor(pages))[1].any()


@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.sampled_from(["grow", "share", "release"]), st.integers(1, 90)), max_size=40
    )
)
def test_every_page_is_free_or_held_whatever_happens(events):
    pool = cache(pages=8)
    owners: list[list[int]] = [[] for _ in range(4)]
    for who, what, tokens in events:
        if what == "grow":
            pool.extend(owners[who], tokens)
        elif what == "release":
            pool.release(owners[who])
        elif owners[(who + 1) % 4] and not owners[who]:
            source = owners[(who + 1) % 4]
            owners[who] = pool.share(source, min(tokens, len(source) * PAGE_TOKENS)) or []
        held = {page for pages in owners for page in pages}
        assert 0 not in held
        assert len(held) + pool.free_pages == 8


@pytest.mark.parametrize(
    ("budget_tokens", "pages"), [(10 * PAGE_TOKENS, 10), (10 * PAGE_TOKENS + 31, 10), (1_000_000, 3 * 4), (0, 1)]
)
def test_the_plan_takes_what_the_budget_allows_and_no_more_than_can_be_used(budget_tokens, pages):
    bytes_per_token = 2 * (2 * (4 + 4) + 1 * (8 + 6))
    budget = budget_tokens * bytes_per_token
    context = 3 * PAGE_TOKENS + 1
    assert planned_pages(SHAPES, budget_bytes=budget, dtype=torch.bfloat16, context_tokens=context, max_rows=3) == pages


def test_what_a_layer_keeps_is_found_out_from_the_model(tiny_base):
    model = load_base(tiny_base, dtype=torch.float32).model
    assert probed_shapes(model) == {0: LayerShape(2, 8, 8), 1: LayerShape(2, 8, 8)}
