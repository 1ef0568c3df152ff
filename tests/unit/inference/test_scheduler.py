"""Who is fed when: those who speak always, prompts in pieces, the queue in order, the youngest gives way."""

import pytest

from scheduling import feed, scheduler, sequence
from tuningfork.inference.kv_cache import PAGE_TOKENS
from tuningfork.inference.prefill import Prefill


def test_without_work_nobody_is_fed():
    plan = scheduler()
    assert not plan.has_work
    assert plan.schedule() == []


def test_the_oldest_prompt_always_reads_on_and_the_nearly_done_beside_it():
    plan = scheduler(prefill_tokens=60)
    for each in (sequence("long", 70), sequence("longer", 300), sequence("short", 5), sequence("middle", 20)):
        plan.add(each)
    assert [feed(plan) for _ in range(4)] == [
        {"long": 30, "short": 5, "middle": 20},
        {"short": 1, "middle": 1, "long": 30, "longer": 30},
        {"short": 1, "middle": 1, "long": 10, "longer": 30},
        {"long": 1, "short": 1, "middle": 1, "longer": 30},
    ]


@pytest.mark.parametrize("others", [0, 1, 5])
def test_where_a_prompt_is_cut_does_not_depend_on_the_others(others):
    plan = scheduler(prefill_tokens=60, max_rows=8)
    for number in range(others):
        plan.add(sequence(f"other {number}", 10 + 40 * number))
    plan.add(sequence("it", 100))
    pieces = []
    while sum(pieces) < 100:
        pieces.append(feed(plan).get("it", 0))
    assert [piece for piece in pieces if piece] == [30, 30, 30, 10]


@pytest.mark.parametrize("others", [0, 1, 5])
def test_where_a_long_prompt_is_cut_does_not_depend_on_the_others_either(others):
    plan = scheduler(prefill_tokens=64, pages=500, attention_tokens=50)
    for number in range(others):
        plan.add(sequence(f"other {number}", 10 + 300 * number))
    plan.add(sequence("it", 2_000))
    pieces = []
    while sum(pieces) < 2_000:
        pieces.append(feed(plan).get("it", 0))
    pieces = [piece for piece in pieces if piece]
    assert pieces[:14] == [32] * 11 + [31, 29, 27]
    assert set(pieces[-30:-1]) == {8}


def test_pieces_shrink_as_deep_as_their_work_grows():
    plan = scheduler(prefill_tokens=64, pages=500, attention_tokens=50)
    it = sequence("it", 4_000)
    plan.add(it)
    while it.missing > 1:
        begin, piece = it.cached, feed(plan)["it"]
        # Four steps' worth, except for the least that is worth fetching all keys for.
        assert piece * (1 + begin / 50) <= 4 * 64 or piece == 8 or it.missing <= 1


def test_a_prompt_that_begins_waits_for_one_piece_of_a_long_one_at_most():
    plan = scheduler(prefill_tokens=64, pages=500, attention_tokens=50)
    long = sequence("long", 4_000)
    plan.add(long)
    while long.cached < 2_000:
        feed(plan)
    plan.add(sequence("short", 40))
    assert [sorted(feed(plan)) for _ in range(4)].count(["long"]) <= 2
    assert "short" in feed(plan)


def test_those_who_speak_have_steps_of_their_own_after_a_deep_piece():
    plan = scheduler(prefill_tokens=64, pages=500, attention_tokens=50)
    long = sequence("long", 8_000)
    plan.add(long)
    while long.cached < 4_000:
        feed(plan)
    plan.add(sequence("speaks", 4))
    while "speaks" not in feed(plan):
        pass
    fed = [sorted(feed(plan)) for _ in range(60)]
    assert all("speaks" in each for each in fed)
    # A piece of 8 tokens behind 4,000 takes 3,900 tokens' work, a quarter of which is some twenty steps.
    assert 2 <= fed.count(["long", "speaks"]) <= 4


def test_a_short_prompt_need_not_wait_while_those_who_speak_have_their_steps():
    plan = scheduler(prefill_tokens=64, pages=500, attention_tokens=50)
    long = sequence("long", 8_000)
    plan.add(long)
    while long.cached < 4_000:
        feed(plan)
    plan.add(sequence("speaks", 4))
    while "long" in feed(plan) or plan._decode_budget <= 0:
        pass
    plan.add(sequence("short", 20))
    assert feed(plan) == {"speaks": 1, "short": 20}


def test_two_long_prompts_take_turns_beside_somebody_who_speaks():
    plan = scheduler(prefill_tokens=64, pages=900, attention_tokens=50)
    first, second = sequence("first", 9_000), sequence("second", 8_900)
    for each in (sequence("speaks", 4), first, second):
        plan.add(each)
    while min(first.cached, second.cached) < 4_000:
        feed(plan)
    begun = first.cached, second.cached
    for _ in range(600):
        feed(plan)
    assert min(first.cached - begun[0], second.cached - begun[1]) > 50


def test_two_long_prompts_take_turns():
    plan = scheduler(prefill_tokens=64, pages=500, attention_tokens=50)
    first, second = sequence("first", 5_000), sequence("second", 4_900)
    plan.add(first)
    plan.add(second)
    while min(first.cached, second.cached) < 2_000:
        feed(plan)
    assert abs(first.cached - second.cached) < 300
    fed = [tuple(feed(plan)) for _ in range(6)]
    assert {len(each) for each in fed} == {1}
    assert fed[0] != fed[1]


def test_those_who_speak_are_fed_in_every_step():
    plan = scheduler(prefill_tokens=10)
    plan.add(sequence("speaks", 3))
    feed(plan)
    plan.add(sequence("reads", 100))
    assert [feed(plan) for _ in range(3)] == [{"speaks": 1, "reads": 5}] * 3


def test_rows_are_limited_and_the_queue_keeps_its_order():
    plan = scheduler(max_rows=2)
    first, *others = [sequence(name, 4) for name in "abcd"]
    for each in (first, *others):
        plan.add(each)
    assert set(feed(plan)) == {"a", "b"}
    plan.remove(first)
    assert set(feed(plan)) == {"b", "c"}


def test_siblings_count_as_rows_before_they_come():
    plan = scheduler(max_rows=4)
    plan.add(sequence("a", 100, siblings=2))
    plan.add(sequence("b", 4, siblings=1))
    for _ in range(4):
        assert set(feed(plan)) == {"a"}
    assert len(plan.of_request("a")) == 3


def test_a_full_cache_keeps_the_next_waiting():
    plan = scheduler(pages=3)
    first = sequence("a", 2 * PAGE_TOKENS)
    plan.add(first)
    plan.add(sequence("b", 2 * PAGE_TOKENS))
    assert set(feed(plan)) == {"a"}
    plan.remove(first)
    assert set(feed(plan)) == {"b"}


@pytest.mark.parametrize(("steps", "left"), [(0, 2), (1, 1), (33, 0)])
def test_the_youngest_gives_way_to_an_older_one_that_outgrows_the_cache(steps, left):
    plan = scheduler(pages=4, prefill_tokens=200)
    old, young = sequence("old", PAGE_TOKENS - 1), sequence("young", PAGE_TOKENS)
    plan.add(old)
    plan.add(young)
    assert set(feed(plan)) == {"old", "young"}
    while set(fed := feed(plan)) == {"old", "young"}:
        assert set(fed.values()) == {1}
    assert set(fed) == {"old"}
    assert (young.pages, young.cached, young.known) == ([], 0, 0)
    said = len(young.tokens)
    for _ in range(steps):
        assert feed(plan) == {"old": 1}
    plan.remove(old)
    # The pages that the older one did not want are there still.
    assert feed(plan) == {"young": said - left * PAGE_TOKENS}


def test_a_sibling_that_finds_no_page_reads_the_prompt_itself_later():
    plan = scheduler(pages=2)
    first = sequence("a", PAGE_TOKENS // 2, siblings=2)
    plan.add(first)
    feed(plan)
    assert feed(plan) == {"a": 1}
    [_, speaking, waiting] = plan.of_request("a")
    assert (len(speaking.pages), waiting.pages) == (1, [])
    plan.remove(first)
    plan.remove(speaking)
    assert feed(plan) == {"a": PAGE_TOKENS // 2}


@pytest.mark.parametrize("steps", [0, 1])
def test_an_ended_sequence_gives_everything_back(steps):
    plan = scheduler()
    each = sequence("a", 100)
    plan.add(each)
    for _ in range(steps):
        feed(plan)
    plan.remove(each)
    assert (plan.has_work, each.pages, plan._cache.free_pages) == (False, [], 50)


@pytest.mark.parametrize(("left", "cheap"), [(1, True), (2, False)])
def test_a_prompts_last_token_is_read_in_a_step_however_many_are_cached(left, cheap):
    late = sequence("late", 100_000)
    late.cached = 100_000 - left
    assert Prefill(64, attention_tokens=50).is_cheap(late) is cheap
