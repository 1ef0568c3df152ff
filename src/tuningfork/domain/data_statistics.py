"""What a training file is made of: counts of tokens, messages and characters, computed while the file is read."""

from dataclasses import dataclass

from tuningfork.domain.conversation import Turn


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
