"""What a training file is made of: counts of tokens, messages and characters, computed while the file is read."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from tuningfork.domain.conversation import Conversation, Example, Preference, Speaker, Turn

BUCKETS = 6
"""Into how many equal parts the range of a distribution's values is cut."""

SAMPLED_EXAMPLES = 3
SAMPLED_CHARACTERS = 400
_ELLIPSIS = "..."

_WHITE_SPACE = bytes(code for code in range(128) if chr(code).isspace())

SAMPLED_DROPS = 100
"""Of how many dropped examples the place and the reason are kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucket:
    """How many values lie between two whole numbers, both included."""

    count: int
    left: int
    right: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Distribution:
    """How a whole number is distributed over the examples. `billable_sum` is the part of `sum` that is billed.

    `p5` and `p95` are values that occur (nearest rank); `median` is the mean of the two middle values if their number
    is even. `buckets` leaves out those without values.
    """

    sum: int
    billable_sum: int
    min: int
    max: int
    mean: float
    median: float
    p5: int
    p95: int
    buckets: tuple[Bucket, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DroppedExample:
    """An example that is not trained on. `number` is its place in the file, from 1; `reason` is for its owner."""

    number: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DataStatistics:
    """Sizes of a training file.

    Attributes:
        examples: the examples in the file, dropped ones too. All other sizes are of the examples that were kept.
        characters: Unicode code points of all texts.
        billable_characters: those that are not white space.
        billable_tokens: input and output tokens of one pass over the examples.
        input_tokens: the tokens of an example that are only read.
        output_tokens: the tokens of an example that are learned.
        messages: the messages of an example, without its system instruction.
        first_turns: the turns of the first three examples, one after the other, each text at most 400 characters.
        dropped: how many examples were dropped, which are not billed either.
        dropped_sample: the first ones of these.

    """

    examples: int
    characters: int
    billable_characters: int
    billable_tokens: int
    input_tokens: Distribution
    output_tokens: Distribution
    messages: Distribution
    first_turns: tuple[Turn, ...]
    dropped: int = 0
    dropped_sample: tuple[DroppedExample, ...] = ()


class DistributionBuilder:
    """Collects whole numbers one after the other. Its memory grows with the distinct values, not with their number."""

    def __init__(self) -> None:
        self._counts: dict[int, int] = {}

    def add(self, value: int) -> None:
        """Collect the next value, at least 0."""
        self._counts[value] = self._counts.get(value, 0) + 1

    def finish(self) -> Distribution:
        """The distribution of the values so far; of none, all its sizes are 0."""
        values = sorted(self._counts)
        count = sum(self._counts.values())
        if not count:
            return Distribution(sum=0, billable_sum=0, min=0, max=0, mean=0.0, median=0.0, p5=0, p95=0, buckets=())
        total = sum(value * self._counts[value] for value in values)
        middle = self._ranked(values, (count + 1) // 2), self._ranked(values, count // 2 + 1)
        return Distribution(
            sum=total,
            billable_sum=total,
            min=values[0],
            max=values[-1],
            mean=total / count,
            median=sum(middle) / 2,
            p5=self._ranked(values, math.ceil(count * 5 / 100)),
            p95=self._ranked(values, math.ceil(count * 95 / 100)),
            buckets=tuple(self._buckets(values)),
        )

    def _ranked(self, values: list[int], rank: int) -> int:
        """The value of this rank, from 1, among all values in order."""
        passed = 0
        for value in values:
            passed += self._counts[value]
            if passed >= rank:
                return value
        raise AssertionError(rank)  # pragma: no cover - no rank is above the number of values

    def _buckets(self, values: list[int]) -> Iterator[Bucket]:
        """Six parts of [min, max + 1) of equal width, each with the whole numbers that lie in it."""
        least, width = values[0], values[-1] - values[0] + 1
        borders = [least - (-number * width // BUCKETS) for number in range(BUCKETS + 1)]
        for left, after in pairwise(borders):
            found = sum(self._counts[value] for value in values if left <= value < after)
            if found:
                yield Bucket(count=found, left=left, right=after - 1)


class StatisticsBuilder:
    """Collects the statistics of a training file, one example after the other, in bounded memory."""

    def __init__(self) -> None:
        self._examples = self._characters = self._billable_characters = self._kept = self._dropped = 0
        self._input, self._output, self._messages = (DistributionBuilder() for _ in range(3))
        self._first: list[Turn] = []
        self._drops: list[DroppedExample] = []

    def add(self, example: Example, *, messages: int, input_tokens: int, output_tokens: int) -> None:
        """Collect the next example, which is kept."""
        self._examples += 1
        for text in _texts_of(example):
            self._characters += len(text)
            self._billable_characters += billable_characters(text)
        self._input.add(input_tokens)
        self._output.add(output_tokens)
        self._messages.add(messages)
        if self._kept < SAMPLED_EXAMPLES:
            self._first += _sampled(example)
        self._kept += 1

    def drop(self, reason: str) -> None:
        """Count the next example as dropped."""
        self._examples += 1
        self._dropped += 1
        if len(self._drops) < SAMPLED_DROPS:
            self._drops.append(DroppedExample(number=self._examples, reason=reason))

    def finish(self) -> DataStatistics:
        """The statistics of the examples so far."""
        inputs, outputs = self._input.finish(), self._output.finish()
        return DataStatistics(
            examples=self._examples,
            characters=self._characters,
            billable_characters=self._billable_characters,
            billable_tokens=inputs.billable_sum + outputs.billable_sum,
            input_tokens=inputs,
            output_tokens=outputs,
            messages=self._messages.finish(),
            first_turns=tuple(self._first),
            dropped=self._dropped,
            dropped_sample=tuple(self._drops),
        )


def billable_characters(text: str) -> int:
    """How many characters of a text are billed where characters are: all that are not white space."""
    if text.isascii():
        # The same in a tenth of the time.
        return len(text.encode().translate(None, _WHITE_SPACE))
    return sum(map(len, text.split()))


def cost_of(tokens: int, epoch_count: int, price: float) -> float:
    """What training so many epochs on so many tokens costs, in the currency of `price`, which is for a million tokens.

    The tokens are the billable ones: dropped examples cost nothing.
    """
    return tokens * epoch_count * price / 1_000_000


def _texts_of(example: Example) -> Iterator[str]:
    if isinstance(example, Preference):
        yield from _texts_of(example.prompt)
        yield from (*example.chosen, *example.rejected)
        return
    yield example.system_instruction or ""
    for turn in example.turns:
        yield from turn.parts


def _sampled(example: Example) -> Iterator[Turn]:
    """The turns of an example, with long texts cut. Of a preference, the chosen answer is the last turn."""
    conversation: Conversation = example.prompt if isinstance(example, Preference) else example
    for turn in conversation.turns:
        yield Turn(turn.speaker, tuple(map(_cut, turn.parts)))
    if isinstance(example, Preference):
        yield Turn(Speaker.MODEL, tuple(map(_cut, example.chosen)))


def _cut(text: str) -> str:
    return text if len(text) <= SAMPLED_CHARACTERS else text[: SAMPLED_CHARACTERS - len(_ELLIPSIS)] + _ELLIPSIS
