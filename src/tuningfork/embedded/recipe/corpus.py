"""Generates endless training text: short conversations drawn from the tasks, as token ids with a mask of targets.

Two halves: single turns (some with the instruction in them, some a bare text, which is echoed), and conversations in
which an instruction is given once and then carried over bare turns until another replaces it. A bare text that no
instruction precedes is always answered with itself.

Shapes: B conversations, T tokens.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from tuningfork.embedded.recipe.tasks import Skill, Subject, draw_numeral, draw_skill, draw_words
from tuningfork.embedded.recipe.vocabulary import BEGIN, END, PAD, ROLE_TOKENS, Role

IGNORED = -100  # The label that torch's cross entropy leaves out.
_MAX_TOKENS = 256
_POOL_SIZE = 4096
_PLACEMENTS = (
    "{p}: {x}",
    "{p} {x}",
    "{x} {p}",
    "{x}: {p}",
    "{p}\n{x}",
    "{x}\n{p}",
    "{p}? {x}",
    "{x}, {p}",
    "{p} of {x}",
    "{x} - {p}",
    "{p} -> {x}",
    "please {p}: {x}",
    "{p}, please: {x}",
    "{p} for {x}",
    '{p} "{x}"',
)
_STANDING_ORDERS = (
    "from now on: {p}",
    "from now on {p}",
    "{p} each time",
    "{p} every time",
    "always {p}",
    "for each message: {p}",
    "now {p}",
    "{p} from here on",
    "your task: {p}",
)


@dataclass(frozen=True, slots=True)
class Turn:
    """One message of a conversation."""

    role: Role
    text: str


Conversation = tuple[Turn, ...]


@dataclass(frozen=True, slots=True)
class Batch:
    """Conversations padded to one length; labels are `IGNORED` except on answers and their end-of-turn token."""

    ids_BT: torch.Tensor
    labels_BT: torch.Tensor


def bare_turn(rng: random.Random, **_: bool) -> Conversation:
    """Answer a text without any instruction with the text itself."""
    subject = _draw_subject(rng, numeric=rng.random() < 0.8)
    return (Turn(Role.USER, subject.text), Turn(Role.MODEL, subject.text))


def bare_turns(rng: random.Random, **_: bool) -> Conversation:
    """Answer each of several texts without instruction with the text itself."""
    return tuple(turn for _ in range(rng.randint(2, 5)) for turn in bare_turn(rng))


def worded_turn(rng: random.Random, *, focused: bool) -> Conversation:
    """Ask for one skill on one subject in one message."""
    skill = draw_skill(rng, focused=focused)
    subject, answer = _draw_application(skill, rng)
    return (Turn(Role.USER, worded(skill, subject, rng)), Turn(Role.MODEL, answer))


def carried_turns(rng: random.Random, *, focused: bool) -> Conversation:
    """Give an instruction with a first subject, then bare subjects; sometimes replace the instruction on the way."""
    turns: list[Turn] = []
    for _ in range(rng.choice((1, 1, 1, 2))):
        skill = draw_skill(rng, focused=focused)
        subject, answer = _draw_application(skill, rng)
        turns += [Turn(Role.USER, worded(skill, subject, rng)), Turn(Role.MODEL, answer)]
        turns += _follow_ups(skill, subject, rng)
    return tuple(turns)


def announced_turns(rng: random.Random, *, focused: bool) -> Conversation:
    """Give an instruction alone, acknowledged with "ok", then bare subjects."""
    skill = draw_skill(rng, focused=focused)
    text = rng.choice(_STANDING_ORDERS).replace("{p}", _cased(rng.choice(skill.phrases), rng))
    return (Turn(Role.USER, text), Turn(Role.MODEL, "ok"), *_follow_ups(skill, None, rng))


def directed_turns(rng: random.Random, *, focused: bool) -> Conversation:
    """Give an instruction as the system message, then bare subjects."""
    skill = draw_skill(rng, focused=focused)
    text = rng.choice(("{p}", *_STANDING_ORDERS)).replace("{p}", _cased(rng.choice(skill.phrases), rng))
    return (Turn(Role.SYSTEM, text), *_follow_ups(skill, None, rng))


KINDS = (
    (worded_turn, 0.40),
    (bare_turn, 0.14),
    (carried_turns, 0.24),
    (announced_turns, 0.07),
    (directed_turns, 0.12),
    (bare_turns, 0.03),
)


def draw_conversation(rng: random.Random, *, focused: bool) -> Conversation:
    """Draw a conversation of any kind."""
    kind = rng.choices([kind for kind, _ in KINDS], [weight for _, weight in KINDS])[0]
    return kind(rng, focused=focused)


def worded(skill: Skill, subject: Subject, rng: random.Random) -> str:
    """Ask for the skill on the subject, in one of its phrases."""
    text = rng.choice(_PLACEMENTS).replace("{p}", _cased(rng.choice(skill.phrases), rng))
    return text.replace("{x}", subject.text)


def encode(conversation: Conversation) -> tuple[list[int], list[bool]]:
    """Render a conversation as token ids, with a mask of the targets: answers and their end-of-turn token."""
    ids, learned = [BEGIN], [False]
    for turn in conversation:
        is_answer = turn.role is Role.MODEL
        content = [*turn.text.encode(), END] if is_answer else [*turn.text.encode()]
        ids += [ROLE_TOKENS[turn.role], *content]
        learned += [False, *[is_answer] * len(content)]
    return ids, learned


def batches(seed: int, tokens_per_batch: int, *, focused: bool) -> Iterator[Batch]:
    """Yield batches for ever; conversations of similar length share a batch, to reduce padding."""
    rng = random.Random(seed)
    while True:
        pool = [encode(draw_conversation(rng, focused=focused)) for _ in range(_POOL_SIZE)]
        pool = sorted((row for row in pool if len(row[0]) <= _MAX_TOKENS), key=lambda row: len(row[0]))
        groups: list[list[tuple[list[int], list[bool]]]] = [[]]
        for row in pool:
            if (len(groups[-1]) + 1) * len(row[0]) > tokens_per_batch:
                groups.append([])
            groups[-1].append(row)
        rng.shuffle(groups)
        yield from map(collate, groups)


def collate(rows: list[tuple[list[int], list[bool]]]) -> Batch:
    """Pad encoded conversations on the right into one batch."""
    longest = max(len(ids) for ids, _ in rows)
    ids_BT = torch.full((len(rows), longest), PAD, dtype=torch.long)
    labels_BT = torch.full((len(rows), longest), IGNORED, dtype=torch.long)
    for row, (ids, learned) in enumerate(rows):
        labels = [token if is_learned else IGNORED for token, is_learned in zip(ids, learned, strict=True)]
        ids_BT[row, : len(ids)] = torch.tensor(ids)
        labels_BT[row, : len(ids)] = torch.tensor(labels)
    return Batch(ids_BT, labels_BT)


def _draw_subject(rng: random.Random, *, numeric: bool) -> Subject:
    return draw_numeral(rng) if numeric else draw_words(rng)


def _draw_application(skill: Skill, rng: random.Random, like: Subject | None = None) -> tuple[Subject, str]:
    """Draw a subject the skill applies to, in the notation of `like` if given, with the answer."""
    for _ in range(50):
        if like is not None and like.notation is not None:
            subject = draw_numeral(rng, like.notation)
        else:
            subject = _draw_subject(rng, numeric=skill.numeric or rng.random() < 0.4)
        answer = skill.answer(subject)
        if answer is not None:
            return subject, answer
    return _draw_application(skill, rng)


def _follow_ups(skill: Skill, first: Subject | None, rng: random.Random) -> list[Turn]:
    turns: list[Turn] = []
    like = first
    for _ in range(rng.choice((1, 2, 2, 3, 3, 4, 5, 6))):
        subject, answer = _draw_application(skill, rng, like if rng.random() < 0.4 else None)
        turns += [Turn(Role.USER, subject.text), Turn(Role.MODEL, answer)]
        like = subject
    return turns


def _cased(phrase: str, rng: random.Random) -> str:
    return rng.choice((phrase, phrase, phrase.capitalize()))
