"""What several prompts begin with is read once, and nobody waits for it longer than for reading it."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exploring import often
from scheduling import carry_out, feed, scheduler, sequence
from tuningfork.inference.kv_cache import PAGE_TOKENS
from tuningfork.inference.scheduler import Scheduler
from tuningfork.inference.sequence import Sequence

SYSTEM = 8 * PAGE_TOKENS


def alike(name: str, own: int = 20, **options) -> Sequence:
    return sequence(name, SYSTEM + own, begins="system", shared=SYSTEM, **options)


def end(plan: Scheduler, *sequences: Sequence) -> None:
    """Let them come, read and go."""
    for each in sequences:
        plan.add(each)
    while not all(each.generated for each in sequences):
        feed(plan)
    for each in sequences:
        plan.remove(each)


def test_a_prompt_that_begins_as_an_earlier_one_reads_only_what_is_its_own():
    plan = scheduler(prefill_tokens=64)
    end(plan, alike("first"))
    later = alike("later")
    plan.add(later)
    assert feed(plan) == {"later": 20}
    assert (later.usage.cached_prompt_tokens, later.usage.prompt_tokens) == (SYSTEM, SYSTEM + 20)


def test_a_prompt_that_is_known_whole_reads_its_last_page_for_the_sake_of_its_last_token():
    plan = scheduler(prefill_tokens=64)
    end(plan, alike("first", own=0))
    plan.add(alike("longer", own=1))
    plan.add(alike("same", own=0))
    assert feed(plan) == {"longer": 1, "same": PAGE_TOKENS}


def test_an_answer_is_known_to_the_prompt_that_goes_on_from_it():
    plan = scheduler(prefill_tokens=64)
    first = sequence("first", PAGE_TOKENS)
    plan.add(first)
    while len(first.tokens) < 3 * PAGE_TOKENS + 1:
        feed(plan)
    plan.remove(first)
    then = sequence("then", 3 * PAGE_TOKENS + 10)
    then.tokens[: 3 * PAGE_TOKENS] = first.tokens[:-1]
    plan.add(then)
    assert feed(plan) == {"then": 10}


def test_prompts_that_come_together_read_what_they_begin_with_once():
    plan = scheduler(prefill_tokens=128, pages=200)
    everybody = [alike(name) for name in "abcdef"]
    for each in everybody:
        plan.add(each)
    while not all(each.generated for each in everybody):
        feed(plan)
    read = [SYSTEM + 20 - each.usage.cached_prompt_tokens for each in everybody]
    assert sorted(read) == [20, 20, 20, 20, 20, SYSTEM + 20]
    assert {tuple(each.pages[: SYSTEM // PAGE_TOKENS]) for each in everybody} == {tuple(everybody[0].pages[:8])}


def test_a_prompt_takes_over_what_another_has_read_so_far_and_goes_on_by_itself_when_that_one_is_gone():
    plan = scheduler(prefill_tokens=64)
    first = alike("first")
    plan.add(first)
    for _ in range(3):
        feed(plan)
    second = alike("second")
    plan.add(second)
    assert len(feed(plan)) == 1
    assert second.usage.cached_prompt_tokens >= 3 * 32
    plan.remove(first)
    while second.missing > 1:
        assert set(feed(plan)) == {"second"}
    assert second.usage.cached_prompt_tokens >= 3 * 32


def test_a_short_prompt_does_not_wait_for_the_rest_of_a_long_one_that_begins_alike():
    plan = scheduler(prefill_tokens=64, pages=500)
    plan.add(alike("long", own=3_000))
    plan.add(alike("short", own=5))
    steps = 0
    while "short" not in feed(plan):
        steps += 1
    assert steps <= SYSTEM // 32


def test_a_prompt_whose_pages_are_filled_meanwhile_gives_its_blank_ones_back():
    plan = scheduler(prefill_tokens=64, pages=50)
    for name in "ab":
        plan.add(alike(name, own=PAGE_TOKENS))
    feed(plan)
    assert plan._cache.free_pages == 50 - 2 * 9
    while not all(each.generated for each in plan._running):
        feed(plan)
    feed(plan)
    # Eight shared ones, and two for each: the last page of the prompt is full, and the first token of the answer.
    assert plan._cache.free_pages == 50 - 8 - 2 * 2


def test_prompts_of_different_owners_never_share():
    plan = scheduler(prefill_tokens=256, pages=60)
    end(plan, alike("ada's first", owner="ada"))
    bobs, adas = alike("bob's", owner="bob"), alike("ada's second", owner="ada")
    end(plan, bobs)
    end(plan, adas)

    assert (bobs.usage.cached_prompt_tokens, adas.usage.cached_prompt_tokens) == (0, SYSTEM)


def test_prompts_of_owners_that_share_their_prefixes_do():
    plan = scheduler(prefill_tokens=256, pages=60)
    end(plan, alike("ada's", owner="ada", sharing_prefixes=True))
    bobs, own = alike("bob's", owner="bob", sharing_prefixes=True), alike("carol's", owner="carol")
    end(plan, bobs)
    end(plan, own)

    assert (bobs.usage.cached_prompt_tokens, own.usage.cached_prompt_tokens) == (SYSTEM, 0)


@pytest.mark.parametrize("adapters", [(0, 1), (-1, 0), (5, 6)])
def test_prompts_on_different_adapters_never_share(adapters):
    plan = scheduler(prefill_tokens=256, pages=60)
    first, second = (alike(f"on {adapter}", adapter=adapter) for adapter in adapters)
    end(plan, first)
    end(plan, second)
    assert second.usage.cached_prompt_tokens == 0
    # Nor when both are read at once.
    third, fourth = (alike(f"again on {adapter}", own=40, adapter=adapter) for adapter in adapters)
    plan.add(third)
    plan.add(fourth)
    feed(plan)
    assert third.cached == fourth.cached == SYSTEM + 40
    assert not set(third.pages) & set(fourth.pages)


def test_kept_pages_are_in_nobodys_way():
    plan = scheduler(prefill_tokens=500, pages=12)
    end(plan, alike("first", own=2 * PAGE_TOKENS))
    other = sequence("other", 12 * PAGE_TOKENS - 1)
    plan.add(other)
    assert feed(plan) == {"other": 250}
    assert len(other.pages) == 12


def test_who_waits_for_room_needs_none_for_what_others_hold():
    plan = scheduler(prefill_tokens=500, pages=12)
    end(plan, alike("first"))
    for name in ("a", "b"):
        plan.add(alike(name))
    assert feed(plan) == {"a": 20, "b": 20}
    assert plan._cache.free_pages == 12 - 8 - 2


def test_what_one_that_failed_has_computed_is_not_used_again():
    plan = scheduler(prefill_tokens=64)
    first = alike("first")
    plan.add(first)
    while first.missing > 1:
        feed(plan)
    plan.remove(first, reuse_pages=False)
    then = alike("then")
    plan.add(then)
    assert feed(plan) == {"then": 32}
    assert plan._cache.free_pages == 50 - 9


def test_candidates_of_one_request_count_what_they_did_not_read_once():
    plan = scheduler(prefill_tokens=64)
    end(plan, alike("first"))
    several = alike("several", siblings=3)
    plan.add(several)
    feed(plan)
    assert [each.usage.cached_prompt_tokens for each in plan.of_request("several")] == [SYSTEM] * 4


def test_what_one_that_was_put_back_finds_of_its_own_counts_as_read():
    plan = scheduler(pages=12, prefill_tokens=8)
    speaks, reads = sequence("speaks", PAGE_TOKENS), alike("reads", own=10)
    plan.add(speaks)
    while speaks.missing > 1:
        feed(plan)
    plan.add(reads)
    while not reads.was_put_back:
        feed(plan)
    plan.remove(speaks)
    feed(plan)
    assert reads.cached > 3 * PAGE_TOKENS
    assert reads.usage.cached_prompt_tokens == 0


@settings(max_examples=often(30))
@given(
    lengths=st.lists(st.integers(2, 2_000), min_size=1, max_size=4),
    speakers=st.integers(1, 4),
    attention_tokens=st.sampled_from([None, 50, 400]),
    shared=st.sampled_from([0, 300]),
)
def test_prompts_of_any_length_stall_those_who_speak_no_more_than_planned(lengths, speakers, attention_tokens, shared):
    step = 64
    plan = scheduler(prefill_tokens=step, pages=2_000, attention_tokens=attention_tokens, max_rows=16)
    for number in range(speakers):
        plan.add(sequence(f"speaks {number}", 2))
    feed(plan)
    prompts = [
        sequence(f"reads {number}", length + shared, begins="system", shared=shared)
        for number, length in enumerate(lengths)
    ]
    for each in prompts:
        plan.add(each)
    owed = 0.0
    while any(each.missing > 1 for each in prompts):
        turns = plan.schedule()
        reading = [turn for turn in turns if turn.sequence.missing > 1]
        costs = list(map(plan._prefill.cost, reading))
        assert {turn.sequence for turn in turns} >= {each for each in plan._running if each.missing == 1}
        # A step reads for as long as it has time; where fetching all keys takes that long, one piece and nothing else.
        assert sum(turn.tokens for turn in reading) <= step
        assert sum(costs) <= 4 * step or len(reading) == 1
        assert all(
            turn.tokens * (1 + plan._prefill._depth(turn.sequence.cached)) <= 4 * step
            for turn in reading
            if turn.tokens > 8
        )
        # A long piece comes when those who speak have had a quarter of the time of the one before for themselves.
        if dear := [cost for cost in costs if cost > step]:
            assert owed <= 0
            owed = 0.25 * sum(dear)
        else:
            owed -= 40 + sum(plan._prefill.cost(turn) for turn in turns if turn.sequence.missing == 1)
        carry_out(plan, turns)


@pytest.mark.parametrize("attention_tokens", [None, 50])
def test_a_long_prompt_takes_as_many_steps_fewer_as_its_beginning_is_known(attention_tokens):
    steps = {}
    for known in (0, 1_000, 1_984):
        plan = scheduler(prefill_tokens=64, pages=500, attention_tokens=attention_tokens)
        end(plan, sequence("first", known + 1, begins="book", shared=known))
        then = sequence("then", 2_000, begins="book", shared=1_990)
        plan.add(then)
        steps[known] = 0
        while not then.generated:
            feed(plan)
            steps[known] += 1
        assert then.usage.cached_prompt_tokens == known - known % PAGE_TOKENS
    assert steps[0] > steps[1_000] > steps[1_984]
    if attention_tokens is None:
        assert steps == {0: 63, 1_000: 32, 1_984: 1}
