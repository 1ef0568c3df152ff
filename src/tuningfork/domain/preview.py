"""What a tuning would learn, shown before it begins: the very tokens, and which of them are trained."""

from collections.abc import Sequence
from dataclasses import dataclass

from tuningfork.domain.base_model import BaseModelName
from tuningfork.domain.hyperparameters import Hyperparameters

MAX_SHOWN_EXAMPLES = 20
USUALLY_SHOWN_EXAMPLES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class PreviewSegment:
    """Consecutive tokens of an example that are all trained or all not, and the text that they spell."""

    text: str
    tokens: int
    trained: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class PreviewedExample:
    """One example as the trainer sees it, in order."""

    segments: tuple[PreviewSegment, ...]

    @property
    def tokens(self) -> int:
        """All tokens, those of the chat template included."""
        return sum(segment.tokens for segment in self.segments)

    @property
    def trained_tokens(self) -> int:
        """The tokens that the loss is on."""
        return sum(segment.tokens for segment in self.segments if segment.trained)


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetPreview:
    """Examples measured in tokens. `longest_example` is an index; `shown` are the first of them.

    `context_tokens` is what the base can take: a longer example cannot be trained.
    """

    total_tokens: int
    trained_tokens: int
    longest_tokens: int
    longest_example: int
    context_tokens: int
    shown: tuple[PreviewedExample, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TuningPreview:
    """A tuning that was checked and not begun. `base_model` is the base at its root, under the name that was asked."""

    base_model: BaseModelName
    hyperparameters: Hyperparameters
    total_steps: int
    example_count: int
    dataset: DatasetPreview


def joined(parts: Sequence[tuple[int, DatasetPreview]]) -> DatasetPreview:
    """The preview of a dataset out of those of its parts, in order; each with the index of its first example."""
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
