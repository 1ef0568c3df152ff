"""Previews of a tuning before it begins: the tokens of its examples, and which of them are trained."""

from collections.abc import Sequence
from dataclasses import dataclass

from tuningfork.domain.answer_kind import AnswerKind
from tuningfork.domain.base_model import AdapterShape, BaseModelName
from tuningfork.domain.data_statistics import cost_of
from tuningfork.domain.hyperparameters import Hyperparameters

MAX_SHOWN_EXAMPLES = 20
USUALLY_SHOWN_EXAMPLES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class PreviewSegment:
    """Consecutive tokens of an example, all trained or all not, and their text."""

    text: str
    tokens: int
    trained: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class PreviewedExample:
    """One tokenized example as the trainer sees it: its segments in order.

    `as_served`: whether the tokens before each trained answer are those that a request for that answer is rendered to;
    None: nobody compared them.
    """

    segments: tuple[PreviewSegment, ...]
    as_served: bool | None = None

    @property
    def tokens(self) -> int:
        """The number of tokens, including those of the chat template."""
        return sum(segment.tokens for segment in self.segments)

    @property
    def trained_tokens(self) -> int:
        """The number of tokens for which a loss is computed."""
        return sum(segment.tokens for segment in self.segments if segment.trained)


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetPreview:
    """Sizes of a dataset in tokens. `longest_example` is an index; `shown` are the first examples.

    `context_tokens` is the base's context length: longer examples cannot be trained.
    """

    total_tokens: int
    trained_tokens: int
    longest_tokens: int
    longest_example: int
    context_tokens: int
    shown: tuple[PreviewedExample, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TuningPreview:
    """A tuning that was checked but not started. `base_model` is its base, under the name in the request.

    `adapter` is the shape of the new model's adapter, `temperature` the model's default, and `answers` the kind of
    answers in the examples; None: a server of an earlier version does not tell them. `tokens_per_second` is how fast
    the server has trained on this base lately, all jobs together; None: it has not. `validation_count` are the examples
    that are held out or of the validation set, and not among the others; 0: there are none.
    """

    base_model: BaseModelName
    hyperparameters: Hyperparameters
    total_steps: int
    example_count: int
    dataset: DatasetPreview
    adapter: AdapterShape | None = None
    temperature: float | None = None
    answers: AnswerKind | None = None
    tokens_per_second: float | None = None
    validation_count: int = 0
    price: float | None = None
    """What a million trained tokens cost, in the operator's currency; None: the server has no price."""

    @property
    def cost(self) -> float | None:
        """About what the job costs, in the operator's currency; None: the server has no price."""
        epochs = self.hyperparameters.epoch_count
        return None if self.price is None else cost_of(self.dataset.total_tokens, epochs, self.price)

    @property
    def step_seconds(self) -> float | None:
        """About how long a step takes that has the server to itself; None if nothing was measured."""
        tokens = self.dataset.total_tokens / self.example_count * self.hyperparameters.batch_size
        return tokens / self.tokens_per_second if self.tokens_per_second else None

    @property
    def longest_seconds(self) -> float | None:
        """About how long the longest example alone takes in a step, rather more; None if nothing was measured."""
        return self.dataset.longest_tokens / self.tokens_per_second if self.tokens_per_second else None


def joined(parts: Sequence[tuple[int, DatasetPreview]]) -> DatasetPreview:
    """Join the previews of a dataset's parts, each given with the index of its first example, in order."""
    first, longest = max(parts, key=lambda part: part[1].longest_tokens)
    previews = [preview for _, preview in parts]
    return DatasetPreview(
        total_tokens=sum(preview.total_tokens for preview in previews),
        trained_tokens=sum(preview.trained_tokens for preview in previews),
        longest_tokens=longest.longest_tokens,
        longest_example=first + longest.longest_example,
        context_tokens=longest.context_tokens,
        shown=tuple(example for preview in previews for example in preview.shown),
    )
