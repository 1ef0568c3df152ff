"""Who is fed when: those who speak always, prompts in pieces, the queue in order, the youngest gives way."""

from random import Random

import pytest
import torch

from tuningfork.domain.generation import Sampling
from tuningfork.inference.detokenizer import Detokenizer
from tuningfork.inference.kv_cache import PAGE_TOKENS, KvCache, LayerShape
from tuningfork.inference.sampling import Draw
from tuningfork.inference.scheduler import Scheduler
from tuningfork.inference.sequence import Sequence, TokenRequest, Usage
from tuningfork.inference.stop_sequences import StopSequences

HOW = Sampling(temperature=0, top_p=1, top_k=None, max_output_tokens=100)


def sequence(name: str, tokens: int, siblings: int = 0) -> Sequence:
    request = TokenRequest(id=name, prompt_ids=(1,) * tokens, sampling=HOW)
    first, *others = [
        Sequence(
            request=request,
            candidate=candidate,
            tokens=list(request.prompt_ids),
            draw=Draw(HOW, Random(0)),
            detokenizer=Detokenizer(lambda _: ""),
            stops=StopSequences(()),
            usage=Usage(prompt_tokens=tokens),
        )
        for candidate in range(1 + siblings)
    ]
    first.siblings = others
    return first


def scheduler(*, pages: int = 50, max_rows: int = 8, prefill_tokens: int = 64) -> Scheduler:
    cache = KvCache({0: LayerShape(1, 2, 2)}, pages=pages, dtype=torch.float32, device=torch.device("cpu"))
    return Scheduler(cache, max_rows=max_rows, prefill_tokens=prefill_tokens)


def feed(plan: Scheduler) -> dict[str, int]:
    """Schedule one step, do what it says, and let those who are complete say a token."""
    turns = plan.schedule()
    for turn in turns:
        completes = turn.completes
        turn.sequence.cached += turn.tokens
        if completes:
            for each in (turn.sequence, *plan.branch(turn.sequence)):
                each.tokens.append(2)
    return {turn.sequence.request.id: turn.tokens for turn in turns}


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


def test_the_youngest_gives_way_to_an_older_one_that_outgrows_the_cache():
    plan = scheduler(pages=4, prefill_tokens=200)
    old, young = sequence("old", PAGE_TOKENS - 1), sequence("young", PAGE_TOKENS)
    plan.add(old)
    plan.add(young)
    assert set(feed(plan)) == {"old", "young"}
    while set(fed := feed(plan)) == {"old", "young"}:
        assert set(fed.values()) == {1}
    assert set(fed) == {"old"}
    assert (young.pages, young.cached) == ([], 0)
    said = len(young.tokens)
    plan.remove(old)
    assert feed(plan) == {"young": said}


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
