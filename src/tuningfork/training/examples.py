"""A job's examples: read one at a time, and rendered when a step needs them.

Neither the texts nor the tokens of a large dataset fit into memory, and rendering all of them would delay the first
step. Rendered examples are cached, so that small datasets are rendered once.
"""

from collections import OrderedDict
from typing import Protocol

from tuningfork.domain.conversation import Conversation, Example, Preference
from tuningfork.domain.dataset import MAX_REPORTED_VIOLATIONS, refusal_of_kind
from tuningfork.domain.errors import FieldViolation, InvalidArgument
from tuningfork.modeling.chat_template import Chat
from tuningfork.training.batches import Segment, segments_of
from tuningfork.training.effort import Effort

_KEPT_TOKENS = 2**22
"""The cache's size in tokens: 16 MiB, and as much again for Python's objects around them."""

_TOKENS_OF_A_SEGMENT = 128
"""The memory of a segment's Python objects, expressed as the number of tokens that would take as much memory."""


class ExampleSource(Protocol):
    """A sequence of examples that can be read in any order, such as a tuple or a dataset file."""

    def __len__(self) -> int:
        """How many examples there are."""
        ...

    def __getitem__(self, index: int, /) -> Example:
        """The example with this index."""
        ...


class RenderedExamples:
    """A sequence of each example's segments, rendered on demand. Not thread-safe.

    Args:
        examples: the job's examples.
        chat: the base's chat format.
        context_tokens: the most tokens of a segment.
        over_pairs: whether the objective compares two answers. If so, examples must be preferences, else conversations.
        path: the name of the list of examples in errors.
        kept_tokens: the size of the cache of rendered examples, in tokens; each segment counts
            `_TOKENS_OF_A_SEGMENT` tokens more than it has.

    """

    def __init__(
        self,
        examples: ExampleSource,
        chat: Chat,
        *,
        context_tokens: int,
        over_pairs: bool = False,
        path: str = "examples",
        kept_tokens: int = _KEPT_TOKENS,
    ) -> None:
        self._examples = examples
        self._chat = chat
        self._context_tokens = context_tokens
        self._over_pairs = over_pairs
        self._path = path
        # How many tokens the template adds to a pair's texts, measured on a pair whose texts are one character each.
        self._frame = max(len(row.ids) for row in chat.render_example(Conversation.pair("a", "a")))
        self._kept: OrderedDict[int, tuple[Segment, ...]] = OrderedDict()
        self._kept_tokens = 0
        self._most_kept_tokens = kept_tokens
        self._checked = 0

    def __len__(self) -> int:
        """How many examples there are."""
        return len(self._examples)

    def __getitem__(self, index: int) -> tuple[Segment, ...]:
        """The segments of the example with this index, at least one.

        Raises:
            InvalidArgument: the example does not fit the base's context, its template or the job's objective.

        """
        return self.take(index)

    def take(self, index: int, effort: Effort | None = None) -> tuple[Segment, ...]:
        """The same; what it takes is spent from `effort`, also if there was less. None: it is not counted."""
        found = self._kept.get(index)
        if found is not None:
            self._kept.move_to_end(index)
            return found
        example = self._examples[index]
        if effort is not None:
            effort.spend_rendering(example)
        return self._keep(index, self._render(index, example))

    @property
    def is_checked(self) -> bool:
        """Whether `check` has checked all examples."""
        return self._checked == len(self._examples)

    def check(self, effort: Effort, *, at_least: int = 0) -> None:
        """Check further examples, in order, from where the last call ended.

        An example whose text has fewer bytes than the context has tokens is short enough, and is not rendered for the
        check.

        Args:
            effort: how much is checked; it is spent.
            at_least: how many examples are read for the check, also if there is less effort.

        Raises:
            InvalidArgument: examples cannot be rendered or are too long; `violations` names those that this call found
                (`examples[3]`).

        """
        violations: list[FieldViolation] = []
        while not self.is_checked and (at_least > 0 or not effort.is_spent):
            index = self._checked
            self._checked += 1
            if index in self._kept:
                continue
            at_least -= 1
            example = self._examples[index]
            if self._fits_for_certain(example):
                effort.spend_reading(example)
                continue
            effort.spend_rendering(example)
            try:
                self._keep(index, self._render(index, example))
            except InvalidArgument as error:
                violations += error.violations
        if violations:
            raise self._error(violations)

    def _fits_for_certain(self, example: Example) -> bool:
        """Whether the example certainly can be rendered and is short enough, judged by its text.

        Templates accept every pair, and a text has no more tokens than bytes. The exception is a tokenizer that
        rewrites the text first: an example that is too long for that reason is found when it is rendered for a step.
        """
        if self._over_pairs or isinstance(example, Preference):
            return False
        pair = example.as_pair()
        return pair is not None and self._frame + sum(len(text.encode()) for text in pair) <= self._context_tokens

    def _render(self, index: int, example: Example) -> tuple[Segment, ...]:
        if described := refusal_of_kind(example, wants_preferences=self._over_pairs):
            raise self._error([self._violation(index, described)])
        try:
            segments = segments_of(self._chat, example)
        except InvalidArgument as error:
            raise self._error([self._violation(index, error.message)]) from error
        longest = max(segments, key=lambda segment: segment.tokens)
        if longest.tokens > self._context_tokens:
            raise self._error([self._violation(index, _too_long(longest, self._context_tokens))])
        return segments

    def _keep(self, index: int, segments: tuple[Segment, ...]) -> tuple[Segment, ...]:
        self._kept[index] = segments
        self._kept_tokens += _size(segments)
        while self._kept_tokens > self._most_kept_tokens and len(self._kept) > 1:
            _, dropped = self._kept.popitem(last=False)
            self._kept_tokens -= _size(dropped)
        return segments

    def _violation(self, index: int, description: str) -> FieldViolation:
        return FieldViolation(field=f"{self._path}[{index}]", description=description)

    def _error(self, violations: list[FieldViolation]) -> InvalidArgument:
        lines = [f"{each.field}: {each.description}" for each in violations[:MAX_REPORTED_VIOLATIONS]]
        return InvalidArgument("\n".join(lines), violations=tuple(violations))


def _size(segments: tuple[Segment, ...]) -> int:
    return sum(segment.tokens + _TOKENS_OF_A_SEGMENT for segment in segments)


def _too_long(segment: Segment, limit: int) -> str:
    if len(segment.spans) == 1:
        measured = f"input and output are {segment.first_target} + {segment.targets} tokens"
    else:
        measured = f"the conversation is {segment.tokens} tokens"
    return f"{measured}, and the base model's context is {limit}: shorten or split the example"
