"""What kind of answers a dataset teaches, and whether a model that was tuned on them should sample.

A temperature is for texts of which many are right. Where each input has one right answer, the likeliest token is the
best guess, and sampling only adds mistakes: two to five of a hundred labels, and a sixth of the extracts, at
temperature 0.9 (measured on SmolLM2-135M-Instruct).
"""

import json
from enum import StrEnum

from tuningfork.domain.conversation import Conversation, Example

MOST_EXAMPLES = 10_000
"""How many examples of a dataset are looked at: the first ones. So a dataset of any size needs little memory."""

LEAST_EXAMPLES = 8
"""Fewer examples say too little."""

LABEL_CHARACTERS = 60
EXTRACT_CHARACTERS = 200
JSON_CHARACTERS = 4_000

SHARE = 0.9
"""The share of the examples that must be of a kind, so that a few faulty ones do not matter."""

DISTINCT_SHARE = 0.5
"""Labels are at most half as many as the examples: on average each occurs twice."""

CONTRADICTING_SHARE = 0.1
"""Where more of the examples than this give another answer to an input that was there before, many are right."""


class AnswerKind(StrEnum):
    """The kind of answers that a dataset teaches."""

    LABELS = "LABELS"
    """Few short texts, each the answer to several inputs."""
    EXTRACTS = "EXTRACTS"
    """Short passages of their inputs."""
    JSON = "JSON"
    """JSON objects or lists."""
    FREE = "FREE"
    """Anything else."""

    @property
    def wants_likeliest(self) -> bool:
        """Whether each input has one right answer, so that a model should always choose the likeliest token."""
        return self is not AnswerKind.FREE


class AnswerSurvey:
    """Counts the kinds of the answers that examples teach, one example after the other, in bounded memory.

    Of a conversation the last answer that is learned counts, of a preference the chosen one.
    """

    def __init__(self) -> None:
        self._count = self._short = self._extracts = self._json = self._contradicting = 0
        self._labels: set[int] = set()
        self._first_answers: dict[int, int] = {}

    def add(self, example: Example) -> None:
        """Count the next example."""
        if self._count >= MOST_EXAMPLES:
            return
        prompt, answer = _last_answer(example)
        self._count += 1
        hashed = hash(answer)
        if self._first_answers.setdefault(hash(prompt), hashed) != hashed:
            self._contradicting += 1
        if len(answer) <= LABEL_CHARACTERS:
            self._short += 1
            self._labels.add(hashed)
        self._extracts += len(answer) <= EXTRACT_CHARACTERS and bool(answer.strip()) and answer.strip() in prompt
        self._json += len(answer) <= JSON_CHARACTERS and _is_json(answer)

    @property
    def kind(self) -> AnswerKind:
        """The kind of the answers so far."""
        count = self._count
        if count < LEAST_EXAMPLES or self._contradicting > CONTRADICTING_SHARE * count:
            return AnswerKind.FREE
        if self._short >= SHARE * count and len(self._labels) <= DISTINCT_SHARE * count:
            return AnswerKind.LABELS
        if self._extracts >= SHARE * count:
            return AnswerKind.EXTRACTS
        return AnswerKind.JSON if self._json >= SHARE * count else AnswerKind.FREE


def _last_answer(example: Example) -> tuple[str, str]:
    """The last answer that is learned, and everything that the model reads before it."""
    if not isinstance(example, Conversation):
        turns = [turn.text for turn in example.prompt.turns]
        return "\n".join([example.prompt.system_instruction or "", *turns]), "".join(example.chosen)
    learned = [index for index, turn in enumerate(example.turns) if turn.is_learned]
    last = learned[-1] if learned else len(example.turns)
    before = [turn.text for turn in example.turns[:last]]
    answer = example.turns[last].text if learned else ""
    return "\n".join([example.system_instruction or "", *before]), answer


def _is_json(text: str) -> bool:
    """Whether a text is a JSON object or a list. Numbers and words, which are JSON too, do not count."""
    if text.lstrip()[:1] not in ("{", "["):
        return False
    try:
        # Numbers are left as texts: one of many digits would take long, or be refused.
        json.loads(text, parse_int=str, parse_float=str)
    except (ValueError, RecursionError):
        return False
    return True
