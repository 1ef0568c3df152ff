"""Rehearse being tuned: adapt small adapters to functions shown by bare examples, then teach the weights beneath them.

A first-order meta-gradient (FOMAML; Finn et al. 2017, arXiv:1703.03400, and Nichol et al. 2018, arXiv:1803.02999). Each
rehearsal draws one skill per adapter slot and shows fifteen examples of it in a few notations, just as a user's tuning
does; the loss that reaches the model is on other notations. The successor is left out, so that it measures the result.

Shapes: S slots, B rows, T tokens, V vocabulary.
"""

import random
from dataclasses import dataclass
from itertools import chain

import torch
from torch import Tensor, nn
from transformers import LlamaForCausalLM

from tuningfork.embedded.recipe.adapters import Adapters
from tuningfork.embedded.recipe.corpus import IGNORED, Batch, Turn, collate, encode
from tuningfork.embedded.recipe.notations import NUMERALS, Notation
from tuningfork.embedded.recipe.tasks import DOUBLE, PREDECESSOR, SHIFTS, STRINGS, Skill, draw_numeral
from tuningfork.embedded.recipe.vocabulary import Role

# Changing case says nothing about digits, so it can not be shown in them.
SKILLS = (PREDECESSOR, DOUBLE, *SHIFTS, *(skill for skill in STRINGS if not skill.name.endswith("case")))
EncodedRow = tuple[list[int], list[bool]]
_MAX_TOKENS = 56


@dataclass(frozen=True, slots=True, kw_only=True)
class RehearsalPlan:
    """One rehearsal: half the tutorial's steps at twice its rate move the adapters about as far in half the time."""

    slots: int = 6
    examples: int = 15
    questions: int = 16
    unseen_share: float = 0.7
    rank: int = 8
    alpha: float = 32.0
    rate: float = 2e-3
    steps: int = 10
    batch_size: int = 4


@dataclass(frozen=True, slots=True)
class Lesson:
    """One skill: the examples an adapter is tuned on and the questions asked of it afterwards."""

    examples: list[EncodedRow]
    questions: list[EncodedRow]


def rehearsal_loss(model: LlamaForCausalLM, plan: RehearsalPlan, rng: random.Random) -> Tensor:
    """Tune fresh adapters and return the mean question loss under them, ready for `backward` into the model."""
    lessons = [draw_lesson(plan, rng) for _ in range(plan.slots)]
    adapters = Adapters(model, rank=plan.rank, alpha=plan.alpha, seeds=[rng.getrandbits(32) for _ in lessons])
    weights = list(model.parameters())
    for weight in weights:
        weight.requires_grad_(False)
    with adapters.attached():
        tune(model, adapters, lessons, plan, rng)
        for weight in weights:
            weight.requires_grad_(True)
        for parameter in adapters.parameters:
            parameter.requires_grad_(False)
        questions = collate(list(chain.from_iterable(lesson.questions for lesson in lessons)))
        return slot_losses(model, questions, plan.slots).mean()


def tune(
    model: LlamaForCausalLM, adapters: Adapters, lessons: list[Lesson], plan: RehearsalPlan, rng: random.Random
) -> None:
    """Tune all slots at once, each on its lesson's examples, as a user's job would: AdamW, shuffled epochs."""
    optimizer = torch.optim.AdamW(adapters.parameters, lr=plan.rate, weight_decay=0.0)
    needed = plan.steps * plan.batch_size
    orders = [_shuffled_epochs(lesson.examples, needed, rng) for lesson in lessons]
    for start in range(0, needed, plan.batch_size):
        rows = [row for order in orders for row in order[start : start + plan.batch_size]]
        optimizer.zero_grad()
        slot_losses(model, collate(rows), len(lessons)).sum().backward()  # type: ignore[no-untyped-call]
        optimizer.step()


def slot_losses(model: LlamaForCausalLM, batch: Batch, slots: int) -> Tensor:
    """Return each slot's mean cross entropy over its learned tokens, shape (S,)."""
    logits_BTV = model(input_ids=batch.ids_BT[:, :-1], use_cache=False).logits.float()
    labels_BT = batch.labels_BT[:, 1:]
    losses_BT = nn.functional.cross_entropy(
        logits_BTV.transpose(1, 2), labels_BT, reduction="none", ignore_index=IGNORED
    )
    counts_S = (labels_BT != IGNORED).view(slots, -1).sum(1)
    return losses_BT.view(slots, -1).sum(1) / counts_S


def draw_lesson(plan: RehearsalPlan, rng: random.Random) -> Lesson:
    """Draw a skill, show it in two to four notations, and ask mostly about the others."""
    skill = rng.choices(SKILLS, [skill.weight for skill in SKILLS])[0]
    notations = rng.sample(NUMERALS, len(NUMERALS))
    shown = rng.randint(2, 4)
    seen, unseen = notations[:shown], notations[shown:]
    return Lesson(
        examples=[_draw_row(skill, seen, rng) for _ in range(plan.examples)],
        questions=[
            _draw_row(skill, unseen if rng.random() < plan.unseen_share else seen, rng) for _ in range(plan.questions)
        ],
    )


def _draw_row(skill: Skill, notations: list[Notation], rng: random.Random) -> EncodedRow:
    while True:
        subject = draw_numeral(rng, rng.choice(notations))
        answer = skill.answer(subject)
        if answer is not None and answer != subject.text:
            row = encode((Turn(Role.USER, subject.text), Turn(Role.MODEL, answer)))
            if len(row[0]) <= _MAX_TOKENS:
                return row


def _shuffled_epochs(rows: list[EncodedRow], count: int, rng: random.Random) -> list[EncodedRow]:
    order: list[EncodedRow] = []
    while len(order) < count:
        order += rng.sample(rows, len(rows))
    return order[:count]
