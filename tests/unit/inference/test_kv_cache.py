"""Pages go to one owner or to several, come back, and never carry an earlier owner's numbers into weights of zero."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tuningfork.inference.kv_cache import PAGE_TOKENS, KvCache, LayerShape, pages_for, planned_pages, probed_shapes
from tuningfork.modeling.loading import load_base

SHAPES = {0: LayerShape(2, 4, 4), 1: LayerShape(1, 8, 6)}


PAGE_BYTES = (2 * (4 + 4) + 1 * (8 + 6)) * PAGE_TOKENS * 4
TOKENS = list(range(10 * PAGE_TOKENS))


def cache(pages: int = 6, kept_bytes: int | None = None) -> KvCache:
    return KvCache(SHAPES, pages=pages, dtype=torch.float32, device=torch.device("cpu"), kept_bytes=kept_bytes)


def fill(pool: KvCache, tokens: list[int], count: int, adapter: int = 0) -> list[int]:
    """Take pages as for a sequence with so many full ones, and let them be found."""
    pages: list[int] = []
    assert pool.extend(pages, count * PAGE_TOKENS)
    assert pool.keep((adapter, ""), tokens, pages, known=0, full=count) == count
    return pages


def found(pool: KvCache, tokens: list[int], adapter: int = 0) -> list[int]:
    return pool.find((adapter, ""), tokens, [], known=0, most=len(tokens) // PAGE_TOKENS)


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


def test_full_pages_are_found_while_they_are_held_and_after():
    pool = cache()
    pages = fill(pool, TOKENS, 2)
    held = list(pages)
    for _ in range(2):
        assert found(pool, TOKENS) == held
        assert found(pool, TOKENS[: 2 * PAGE_TOKENS - 1]) == held[:1]
        assert found(pool, TOKENS[1:]) == []
        assert found(pool, TOKENS, adapter=1) == []
        pool.release(pages)
    assert (pool.free_pages, pool.held(held)) == (6, 0)


def test_found_pages_are_held_in_place_of_own_ones():
    pool = cache()
    first = fill(pool, TOKENS, 2)
    second: list[int] = []
    assert pool.extend(second, 3 * PAGE_TOKENS)
    last = second[2]
    pool.adopt(found(pool, TOKENS), second, 0)
    assert second == [*first, last]
    assert (pool.free_pages, pool.held(first)) == (3, 2)
    pool.release(list(first))
    assert pool.free_pages == 3
    pool.release(second)
    assert pool.free_pages == 6


def test_who_fills_a_page_that_another_filled_before_keeps_it_for_itself():
    pool = cache()
    first, second = fill(pool, TOKENS, 2), []
    assert pool.extend(second, 3 * PAGE_TOKENS)
    own = list(second)
    assert pool.keep((0, ""), TOKENS, second, known=0, full=3) == 0
    assert (found(pool, TOKENS), second) == (first, own)
    pool.release(second)
    assert found(pool, TOKENS) == first


def test_kept_pages_are_given_up_when_others_are_wanted_the_longest_unused_first_and_from_the_end():
    pool = cache()
    old, new = fill(pool, TOKENS, 3), fill(pool, TOKENS[::-1], 2)
    for pages in (old, new):
        pool.release(pages)
    wanted: list[int] = []
    left = []
    for count in range(1, 7):
        assert pool.extend(wanted, count * PAGE_TOKENS)
        left.append((len(found(pool, TOKENS)), len(found(pool, TOKENS[::-1]))))
    # One page was blank, three were the old one's, two the new one's.
    assert left == [(3, 2), (2, 2), (1, 2), (0, 2), (0, 1), (0, 0)]
    assert not pool.extend(wanted, 7 * PAGE_TOKENS)


def test_a_beginning_that_is_used_again_stays_longer():
    pool = cache()
    old, new = fill(pool, TOKENS, 3), fill(pool, TOKENS[::-1], 3)
    for pages in (old, new):
        pool.release(pages)
    again: list[int] = []
    pool.adopt(found(pool, TOKENS), again, 0)
    pool.release(again)
    assert pool.extend([], 3 * PAGE_TOKENS)
    assert (len(found(pool, TOKENS)), len(found(pool, TOKENS[::-1]))) == (3, 0)


def test_a_held_page_is_never_given_up():
    pool = cache()
    pages = fill(pool, TOKENS, 6)
    second: list[int] = []
    pool.adopt(pages[:4], second, 0)
    pool.release(pages)
    wanted: list[int] = []
    assert pool.extend(wanted, 2 * PAGE_TOKENS)
    assert not set(wanted) & set(second)
    assert not pool.extend(wanted, 3 * PAGE_TOKENS)
    assert found(pool, TOKENS) == second


def test_no_more_is_kept_than_allowed():
    pool = cache(kept_bytes=2 * PAGE_BYTES + 1)
    pages = fill(pool, TOKENS, 5)
    assert len(found(pool, TOKENS)) == 5
    pool.release(pages)
    assert (len(found(pool, TOKENS)), pool.free_pages) == (2, 6)


def test_forgotten_pages_come_back_blank():
    pool = cache()
    pages = fill(pool, TOKENS, 3)
    pool.forget(pages)
    assert found(pool, TOKENS) == []
    assert pool.keep((0, ""), TOKENS, pages, known=2, full=3) == 2
    pool.release(pages)
    assert (found(pool, TOKENS), pool.free_pages) == ([], 6)


def test_what_two_share_is_found_once():
    pool = cache()
    pages: list[int] = []
    pool.extend(pages, 2 * PAGE_TOKENS)
    second = pool.share(pages, 2 * PAGE_TOKENS)
    assert [pool.keep((0, ""), TOKENS, each, known=0, full=2) for each in (pages, second)] == [2, 2]
    pool.release(pages)
    assert found(pool, TOKENS) == second
    pool.release(second)
    assert len(found(pool, TOKENS)) == 2


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


def test_the_kept_pages_of_an_adapter_that_is_unloaded_are_free_and_those_of_others_stay():
    pool = cache()
    unloaded, other = fill(pool, TOKENS, 2, adapter=1), fill(pool, TOKENS, 2, adapter=2)
    running = fill(pool, TOKENS[PAGE_TOKENS:], 1, adapter=1)
    freed = set(unloaded)
    pool.release(unloaded)
    pool.release(other)
    pool.forget_adapter(1)
    taken: list[int] = []
    pool.extend(taken, PAGE_TOKENS)

    assert found(pool, TOKENS, adapter=1) == []
    assert len(found(pool, TOKENS, adapter=2)) == 2
    assert set(taken) < freed
    pool.release(running)
    pool.release(taken)
    assert pool.free_pages == 6
