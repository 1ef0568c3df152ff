"""Examples that are pairs, as their texts."""

from collections.abc import Iterable

from tuningfork.domain.conversation import Conversation, Example


def pairs_of(examples: Iterable[Example]) -> list[tuple[str, str]]:
    """The question and the answer of each example, all of which are pairs."""
    pairs = [example.as_pair() for example in examples if isinstance(example, Conversation)]
    return [pair for pair in pairs if pair is not None]
