"""Several turns of one conversation are learned as each would be alone: one gradient, their sum.

The reference feeds each learned turn alone, behind the prompt that serving renders for it, through PEFT's layers.
"""

from dataclasses import replace

import pytest
import torch
from peft import PeftModel
from torch.nn.functional import cross_entropy

from family_models import ADAPTERS
from training_runs import LETTERS, engine_over, job
from tuningfork.domain.conversation import Conversation, Speaker, Turn
from tuningfork.training.batches import OwnedSegment, pack, segments_of

# PEFT 0.21 still asks transformers by a name that is on its way out.
pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")


def conversation(*texts, weights, system=None):
    """Question, answer, question, answer ... of which the answers have these weights."""
    given = iter(weights)
    turns = [
        Turn.said(Speaker.MODEL, text, next(given)) if index % 2 else Turn.said(Speaker.USER, text)
        for index, text in enumerate(texts)
    ]
    return Conversation(turns=tuple(turns), system_instruction=system)


SYSTEM = "You are asked for one word after the other, in lower case letters, and nothing else. "
EXAMPLES = (
    conversation("one", "two", "three and", "four", weights=(1, 1), system=SYSTEM),
    conversation("one", "two", "five", "six, seven", "eight", "nine", weights=(0, 1, 1), system=SYSTEM),
    conversation("one", "two", "and ten", "no answer", weights=(1, 0), system=SYSTEM),
    Conversation.pair("what comes after twelve?", "thirteen, as everybody knows"),
)


def reference(family, examples):
    """The mean loss over all learned tokens and its gradient, by name."""
    chat = family.base().chat
    model = PeftModel.from_pretrained(family.plain(), family.adapter_directory("a"), is_trainable=True).eval()
    learned = {name.replace(".default", ""): each for name, each in model.named_parameters() if each.requires_grad}
    loss, count = torch.zeros(()), 0
    for example in examples:
        for index, turn in enumerate(example.turns):
            if turn.is_learned:
                prompt = replace(example, turns=example.turns[:index])
                header, output = chat.render_prompt(prompt), chat.render_answer(prompt, turn.text).output
                logits_TV = model(torch.tensor([[*header, *output]])).logits[0].float()
                loss = loss + cross_entropy(logits_TV[len(header) - 1 : -1], torch.tensor(output), reduction="sum")
                count += len(output)
    (loss / count).backward()
    return (loss / count).item(), {name: each.grad for name, each in learned.items()}


def stepped(base, jobs, **how):
    """Each job's first loss and the gradient of its first step."""
    engine = engine_over(base, **how)
    for each in jobs:
        engine.admit(each)
    found = {}
    while len(found) < len(jobs):
        for report in engine.step():
            gradient_P = engine.state(report.job_id).optimizer.mean_P / (1 - 0.9)
            found.setdefault(report.job_id, (report.snapshot.mean_loss, gradient_P))
    for each in jobs:
        engine.release(each.id)
    return found


def conversations_of(family, name="talks", examples=EXAMPLES):
    """It goes on from an adapter that does something: a fresh one's A has no gradient yet."""
    return job(
        name,
        examples=examples,
        batch_size=len(examples),
        adapter=ADAPTERS["a"],
        initial_adapter=family.adapter_directory("a"),
    )


def test_the_gradient_of_conversations_is_the_sum_of_their_turns_each_alone(family):
    base, one = family.fresh_base(), conversations_of(family)
    loss, gradients = reference(family, EXAMPLES)
    found_loss, found_P = stepped(base, [one])[one.id]
    assert found_loss == pytest.approx(loss, rel=1e-5)
    for name, found in base.slots.unflatten(one.adapter, found_P).tensors.items():
        assert (found - gradients[name]).norm() < 2e-5 * gradients[name].norm(), name


def test_what_conversations_begin_with_is_computed_once(family):
    base = family.fresh_base()
    if base.decoder is None:
        pytest.skip("runs by transformers' code, which shares nothing")
    own = [OwnedSegment(segment=each, owner=0) for example in EXAMPLES[:3] for each in segments_of(base.chat, example)]
    assert len(pack(own, share=True).ids_T) < 0.75 * len(pack(own).ids_T)
    one = conversations_of(family, examples=EXAMPLES[:3])
    loss, gradients = reference(family, EXAMPLES[:3])
    found_loss, found_P = stepped(base, [one])[one.id]
    assert found_loss == pytest.approx(loss, rel=1e-5)
    for name, found in base.slots.unflatten(one.adapter, found_P).tensors.items():
        assert (found - gradients[name]).norm() < 2e-5 * gradients[name].norm(), name


@pytest.mark.parametrize(("jobs_per_step", "threads"), [(1, 1), (3, 1), (1, 3)], ids=["alone", "shared", "lanes"])
def test_conversations_beside_pairs_are_learned_as_alone(loaded_tiny, jobs_per_step, threads):
    jobs = (
        job("talks", examples=EXAMPLES, batch_size=3),
        job("letters", examples=LETTERS, batch_size=5),
        job("others", examples=EXAMPLES[1:], batch_size=3, seed=3),
    )
    before = torch.get_num_threads()
    wanted = {one.id: stepped(loaded_tiny, [one])[one.id] for one in jobs}
    torch.set_num_threads(threads)
    try:
        found = stepped(loaded_tiny, jobs, max_jobs_per_step=jobs_per_step)
    finally:
        torch.set_num_threads(before)
    for one in jobs:
        assert found[one.id][0] == pytest.approx(wanted[one.id][0], rel=1e-5)
        torch.testing.assert_close(found[one.id][1], wanted[one.id][1], rtol=1e-3, atol=1e-6)


def test_a_change_in_a_turn_of_weight_zero_changes_what_is_read_and_not_how_much_is_learned(loaded_tiny):
    one = conversation("one", "two", "three", "four", weights=(0, 1))
    other = conversation("one", "2", "three", "four", weights=(0, 1))
    (row,), (changed,) = (segments_of(loaded_tiny.chat, each) for each in (one, other))
    assert row.targets == changed.targets
    assert row.ids_T[row.target_places()].equal(changed.ids_T[changed.target_places()])
    assert row.first_target != changed.first_target or not row.ids_T.equal(changed.ids_T)
