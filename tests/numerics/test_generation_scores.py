"""Penalties and log probabilities of the engine against a plain loop: one whole forward a token, no cache."""

import pytest
import torch
from torch import Tensor

from engine_runs import Answer, answers_of, greedy, request
from tuningfork.modeling.attention.plans import PackedPlan
from tuningfork.modeling.loading import LoadedBase

LENGTH = 40


def prompt(length: int, seed: int = 0) -> list[int]:
    return torch.randint(0, 250, (length,), generator=torch.Generator().manual_seed(seed)).tolist()


@torch.no_grad()
def last_logits(base: LoadedBase, tokens: list[int]) -> Tensor:
    return base.model(
        input_ids=torch.tensor([tokens]),
        position_ids=torch.arange(len(tokens))[None],
        use_cache=False,
        attention_plan=PackedPlan((len(tokens),)),
    ).logits[0, -1]


def plain_greedy(base: LoadedBase, prompt_ids: list[int], presence: float, frequency: float) -> tuple[int, ...]:
    """Generation as the definition of the penalties says it."""
    said: list[int] = []
    while len(said) < LENGTH:
        logits = last_logits(base, [*prompt_ids, *said]).tolist()
        for token in set(said):
            logits[token] -= presence + frequency * said.count(token)
        best = max(range(len(logits)), key=logits.__getitem__)
        if best in base.chat.end_of_turn_ids:
            break
        said.append(best)
    return tuple(said)


@pytest.mark.parametrize(("presence", "frequency"), [(1.5, 0.0), (0.0, 0.7), (-0.5, 1.2), (2.0, 2.0), (0.0, -0.3)])
def test_penalised_answers_are_those_of_the_definition(loaded_tiny, presence, frequency):
    how = greedy(LENGTH, presence_penalty=presence, frequency_penalty=frequency)
    ids = prompt(12)
    [answer] = answers_of(loaded_tiny, request("a", ids, sampling=how)).values()
    assert answer.tokens == plain_greedy(loaded_tiny, ids, presence, frequency)


def test_penalties_change_the_answer(loaded_tiny):
    ids = prompt(12)
    said = {
        answers_of(loaded_tiny, request("a", ids, sampling=greedy(LENGTH, frequency_penalty=frequency)))["a", 0].tokens
        for frequency in (0.0, 2.0)
    }
    assert len(said) == 2


def test_each_candidate_is_penalised_for_its_own_words_only(loaded_llama):
    how = {"temperature": 1.5, "seed": 4, "frequency_penalty": 2.0, "logprobs": 0}
    requests = [request("a", prompt(12), sampling=greedy(LENGTH, candidate_count=count, **how)) for count in (1, 3)]
    [alone] = answers_of(loaded_llama, requests[0]).values()
    beside = answers_of(loaded_llama, requests[1])
    assert beside["a", 0].tokens == alone.tokens
    for answer in beside.values():
        assert_scores_are_those_of_a_full_forward(loaded_llama, prompt(12), answer, frequency=2.0)


def assert_scores_are_those_of_a_full_forward(
    base: LoadedBase, prompt_ids: list[int], answer: Answer, *, frequency: float = 0.0
) -> None:
    assert len(answer.scored) == len(answer.tokens)
    for place, (scored, token) in enumerate(zip(answer.scored, answer.tokens, strict=True)):
        said = answer.tokens[:place]
        logits_V = last_logits(base, [*prompt_ids, *said])
        for each in set(said):
            logits_V[each] -= frequency * said.count(each)
        wanted_V = torch.log_softmax(logits_V, dim=-1)
        assert scored.chosen.token_id == token
        assert scored.chosen.log_probability == pytest.approx(float(wanted_V[token]), abs=2e-4)
        found = {each.token_id: each.log_probability for each in scored.likeliest}
        assert list(found.values()) == sorted(found.values(), reverse=True)
        torch.testing.assert_close(
            torch.tensor(list(found.values())), wanted_V.topk(len(found)).values, rtol=0, atol=2e-4
        )
        for each, log_probability in found.items():
            assert log_probability == pytest.approx(float(wanted_V[each]), abs=2e-4)


@pytest.mark.parametrize("temperature", [0, 1.3])
def test_log_probabilities_are_those_of_a_full_forward(loaded_tiny, temperature):
    how = greedy(LENGTH, temperature=temperature, top_k=50, seed=1, logprobs=5)
    [answer] = answers_of(loaded_tiny, request("a", prompt(20), sampling=how)).values()
    assert {len(scored.likeliest) for scored in answer.scored} == {5}
    assert_scores_are_those_of_a_full_forward(loaded_tiny, prompt(20), answer)


def test_scored_rows_and_penalised_rows_say_beside_each_other_what_they_say_alone(loaded_tiny):
    requests = [
        request("a", prompt(9, 1), sampling=greedy(LENGTH, logprobs=20)),
        request("b", prompt(30, 2), sampling=greedy(LENGTH, temperature=1.0, seed=3, presence_penalty=1.0)),
        request("c", prompt(3, 3), sampling=greedy(LENGTH)),
    ]
    together = answers_of(loaded_tiny, *requests)
    for each in requests:
        alone, beside = answers_of(loaded_tiny, each)[each.id, 0], together[each.id, 0]
        assert (alone.text, alone.tokens, alone.finish_reason) == (beside.text, beside.tokens, beside.finish_reason)
        # The last bits of a product depend on how many rows it has.
        for one, other in zip(alone.scored, beside.scored, strict=True):
            assert one.chosen.log_probability == pytest.approx(other.chosen.log_probability, abs=1e-4)
