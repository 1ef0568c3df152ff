"""For every family of models: the engine says what transformers and PEFT say, with log probabilities to prove it.

A greedy answer is right when each of its tokens is the likeliest after those before it. So the whole answer is put
through the other implementation in one forward pass, without a cache; the log probabilities that the engine gives are
compared with it besides. Once for each family, transformers' own `generate` is asked too.
"""

import pytest
import torch
from torch import Tensor

from engine_runs import Answer, Run, greedy, request
from families import WINDOW
from tuningfork.domain.generation import FinishReason
from tuningfork.inference.engine import InferenceEngine

# PEFT 0.21 still asks transformers by a name that is on its way out.
pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")

TOLERANCE = 1e-4
PROMPTS = {
    length: torch.randint(0, 250, (length,), generator=torch.Generator().manual_seed(100 + length)).tolist()
    for length in (1, 5, 2 * WINDOW + 3, 70)
}
ADAPTERS = ("a", None, "b", "c")
"""Of the four prompts, in turn."""
LENGTH = 3 * WINDOW


def answers(family, dtype=torch.float32, prefill_tokens=None, **how) -> list[Answer]:
    """All prompts at once, each on its adapter; the last two come when the others are under way."""
    slots = family.slots(ADAPTERS, dtype)
    requests = [
        request(str(length), ids, slot, greedy(LENGTH, logprobs=2, **how))
        for (length, ids), slot in zip(PROMPTS.items(), slots, strict=True)
    ]
    run = Run(InferenceEngine(family.base(dtype), prefill_tokens=prefill_tokens)).add(*requests[:2])
    for _ in range(3):
        run.step()
    return list(run.add(*requests[2:]).to_end().values())


@torch.no_grad()
def log_probabilities(model, name: str | None, prompt_ids: list[int], answer: Answer) -> Tensor:
    """`TV` before each token of the answer, and before what would come next."""
    ids_1T = torch.tensor([[*prompt_ids, *answer.tokens]])
    if name is None:
        with model.disable_adapter():
            logits_1TV = model(ids_1T).logits
    else:
        model.set_adapter(name)
        logits_1TV = model(ids_1T).logits
    return torch.log_softmax(logits_1TV[0, len(prompt_ids) - 1 :].float(), dim=-1)


def scores_of(answer: Answer) -> Tensor:
    return torch.tensor([scored.chosen.log_probability for scored in answer.scored])


def chosen(wanted_TV: Tensor, answer: Answer) -> Tensor:
    return wanted_TV[:-1].gather(1, torch.tensor(answer.tokens)[:, None])[:, 0]


def test_an_answer_is_what_transformers_generates(family):
    base, ids = family.base(), PROMPTS[5]
    answer = Run(InferenceEngine(base)).add(request("a", ids, sampling=greedy(LENGTH))).to_end()["a", 0]
    ends = base.chat.end_of_turn_ids
    theirs = family.plain().generate(
        torch.tensor([ids]),
        attention_mask=torch.ones(1, len(ids), dtype=torch.long),
        max_new_tokens=LENGTH,
        do_sample=False,
        eos_token_id=sorted(ends),
        pad_token_id=0,
    )
    said = theirs[0, len(ids) :].tolist()
    assert list(answer.tokens) == (said[:-1] if said[-1] in ends else said)


@pytest.mark.parametrize("prefill_tokens", [None, 7], ids=["prompts_at_once", "prompts_in_pieces"])
def test_answers_on_different_adapters_side_by_side_are_those_of_peft(family, prefill_tokens):
    model, ends = family.with_peft(), family.base().chat.end_of_turn_ids
    lengths = []
    for ids, name, answer in zip(
        PROMPTS.values(), ADAPTERS, answers(family, prefill_tokens=prefill_tokens), strict=True
    ):
        wanted_TV = log_probabilities(model, name, ids, answer)
        chosen_T, likeliest = chosen(wanted_TV, answer), wanted_TV.max(-1)
        # Of two tokens that are equally likely within rounding, processors choose one or the other.
        torch.testing.assert_close(chosen_T, likeliest.values[:-1], rtol=0, atol=TOLERANCE)
        torch.testing.assert_close(scores_of(answer), chosen_T, rtol=0, atol=TOLERANCE)
        if answer.finish_reason is FinishReason.STOP:
            assert likeliest.indices[-1].item() in ends
        else:
            assert len(answer.tokens) == LENGTH
        lengths.append(len(answer.tokens))
    assert max(lengths) > WINDOW


@pytest.mark.bf16
def test_in_bfloat16_the_scores_of_answers_are_as_exact_as_those_of_peft(family):
    rounded, exact = family.with_peft(torch.bfloat16), family.exact()
    ours, theirs = [], []
    # Drawn, not the likeliest, so that every answer visits other states; from its own words nobody departs.
    drawn = answers(family, torch.bfloat16, temperature=1.0, seed=9)
    for ids, name, answer in zip(PROMPTS.values(), ADAPTERS, drawn, strict=True):
        exact_T = chosen(log_probabilities(exact, name, ids, answer), answer)
        ours.append(scores_of(answer) - exact_T)
        theirs.append(chosen(log_probabilities(rounded, name, ids, answer), answer) - exact_T)
    spread, spread_of_theirs = (torch.cat(each).square().mean().sqrt().item() for each in (ours, theirs))
    assert len(torch.cat(ours)) > 2 * LENGTH
    assert spread < 1.5 * spread_of_theirs
