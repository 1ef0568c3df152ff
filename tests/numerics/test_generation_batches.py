"""A request says the same alone and beside any others: mixed adapters, lengths, ways of drawing, comings and goings."""

from dataclasses import replace

import pytest
import torch

from engine_runs import Answer, Run, answers_of, greedy, loud_adapter, request
from tiny_models import Architecture, tiny_base_model
from tuningfork.domain.generation import Sampling
from tuningfork.inference.engine import InferenceEngine
from tuningfork.inference.kv_cache import PAGE_TOKENS
from tuningfork.inference.sequence import BASE_ALONE, TokenRequest
from tuningfork.modeling.loading import LoadedBase, load_base

RANKS = (2, 8, 3)


@pytest.fixture(name="base", scope="module", params=Architecture)
def _base(request, tiny_directories) -> LoadedBase:
    return load_base(tiny_base_model(request.param, tiny_directories[request.param]), dtype=torch.float32)


@pytest.fixture(name="requests", scope="module")
def _requests(base) -> list[TokenRequest]:
    """Base and adapters of mixed ranks in turn, short and long prompts, greedy and seeded in several ways."""
    slots = [BASE_ALONE, *(base.slots.load(loud_adapter(base, rank, seed=rank)) for rank in RANKS)]
    drawn = Sampling(temperature=0.9, top_p=1, top_k=None, max_output_tokens=25)
    ways = [
        greedy(30),
        replace(drawn, seed=1),
        replace(drawn, seed=2, top_k=20, max_output_tokens=40),
        greedy(5),
        replace(drawn, seed=3, top_p=0.9, temperature=1.5),
    ]
    generator = torch.Generator().manual_seed(0)
    lengths = [1, 40, 7, 90, 33, 2, 64, 12, 50, 31, 5, 70]
    return [
        request(
            f"request {index}",
            torch.randint(0, 250, (length,), generator=generator).tolist(),
            slots[index % len(slots)],
            ways[index % len(ways)],
        )
        for index, length in enumerate(lengths)
    ]


@pytest.fixture(name="alone", scope="module")
def _alone(base, requests) -> dict[tuple[str, int], Answer]:
    """What each request is answered in an engine of its own."""
    return {key: answer for each in requests for key, answer in answers_of(base, each).items()}


def check_same(found: dict[tuple[str, int], Answer], wanted: dict[tuple[str, int], Answer]) -> None:
    assert {key: (answer.tokens, answer.text, answer.finish_reason) for key, answer in found.items()} == {
        key: (answer.tokens, answer.text, answer.finish_reason) for key, answer in wanted.items()
    }


def test_the_requests_differ_enough_to_prove_something(alone):
    assert len({answer.tokens for answer in alone.values()}) == len(alone)
    assert all(len(answer.tokens) > 3 for answer in alone.values())


def test_a_mixed_batch_gives_each_request_the_tokens_it_gets_alone(base, requests, alone):
    check_same(answers_of(base, *requests), alone)


def test_requests_that_come_while_others_speak_change_nothing(base, requests, alone):
    run = Run(InferenceEngine(base))
    for index, each in enumerate(requests):
        run.add(each)
        for _ in range(index % 4):
            run.step()
    check_same(run.to_end(), alone)


@pytest.mark.parametrize("prefill_tokens", [1, 5, 64])
def test_prompts_read_in_pieces_change_nothing(base, requests, alone, prefill_tokens):
    check_same(answers_of(base, *requests, prefill_tokens=prefill_tokens), alone)


def test_rows_that_wait_for_a_place_change_nothing(base, requests, alone):
    check_same(answers_of(base, *requests, max_rows=8), alone)


def test_a_cache_that_holds_one_request_at_a_time_changes_nothing(base, requests, alone):
    run = Run(InferenceEngine(base, cache_bytes=4 * page_bytes(base), prefill_tokens=48)).add(*requests)
    assert run.engine.longest_tokens == 4 * PAGE_TOKENS
    check_same(run.to_end(), alone)


def test_requests_put_back_in_the_middle_of_their_answers_say_the_same(base, requests):
    long_answers = [
        replace(each, prompt_ids=each.prompt_ids[:40], sampling=replace(each.sampling, max_output_tokens=100))
        for each in requests[:6]
    ]
    run = Run(InferenceEngine(base, cache_bytes=7 * page_bytes(base), prefill_tokens=48)).add(*long_answers)
    put_back = set()
    while run.engine.has_work:
        cached = {id(each): each.cached for each in run.engine._scheduler._running}
        run.step()
        put_back |= {each.request.id for each in run.engine._scheduler._waiting if cached.get(id(each))}
    assert put_back
    check_same(run.answers, {key: answer for each in long_answers for key, answer in answers_of(base, each).items()})


def page_bytes(base: LoadedBase) -> int:
    shape = base.model.config
    heads, size = shape.num_key_value_heads, shape.head_dim
    return shape.num_hidden_layers * 2 * heads * size * PAGE_TOKENS * base.dtype.itemsize


def test_a_cancelled_request_changes_nothing_for_the_others(base, requests, alone):
    run = Run(InferenceEngine(base, prefill_tokens=64)).add(*requests)
    gone = {requests[index].id for index in (0, 3, 6)}
    for index in (0, 3, 6):
        run.step()
        run.engine.cancel(requests[index].id)
    found = {key: answer for key, answer in run.to_end().items() if key[0] not in gone}
    check_same(found, {key: answer for key, answer in alone.items() if key[0] not in gone})


def test_candidates_of_one_request_are_each_reproducible_and_different(base, requests):
    how = Sampling(temperature=1.2, top_p=1, top_k=None, max_output_tokens=15, candidate_count=4, seed=9)
    several = [request(each.id, each.prompt_ids, each.slot, how) for each in requests[:4]]
    together = answers_of(base, *several, *requests[4:])
    for each in several:
        found = {key: answer for key, answer in together.items() if key[0] == each.id}
        assert len({answer.tokens for answer in found.values()}) == 4
        check_same(found, answers_of(base, each))
        # The first candidate is what a request for one candidate would get.
        [single] = answers_of(
            base, request(each.id, each.prompt_ids, each.slot, replace(how, candidate_count=1))
        ).values()
        assert found[each.id, 0].tokens == single.tokens


def test_candidates_in_a_cache_with_no_room_to_branch_say_the_same(base, requests):
    how = Sampling(temperature=1.2, top_p=1, top_k=None, max_output_tokens=40, candidate_count=8, seed=9)
    [wide] = [request("wide", requests[3].prompt_ids, requests[3].slot, how)]
    check_same(answers_of(base, wide, cache_bytes=5 * page_bytes(base)), answers_of(base, wide))
