"""Which parts of an example a tuning learns, and which it only reads."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Json = Mapping[str, Any]

_VISIBLE = {"\n": "↵\n", "\t": "⇥\t"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A part of the text that the model is given. Line ends and tabs are shown by a sign before them."""

    text: str
    learned: bool
    token_count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskedExample:
    """An example as the tuning sees it.

    `as_served`: whether what is not learned at its beginning is what the server will send for this prompt later; None:
    that could not be computed.
    """

    row_id: int
    number: int
    segments: tuple[Segment, ...]
    token_count: int
    learned_token_count: int
    as_served: bool | None

    @property
    def learned_text(self) -> str:
        """What is learned, as plain text."""
        return "".join(each.text for each in self.segments if each.learned)


def masked_example(example: Json) -> MaskedExample:
    """One example of an answer to `:preview`."""
    return MaskedExample(
        row_id=int(example.get("id", 0)),
        number=int(example.get("number", 0)),
        segments=tuple(
            Segment(
                text=_shown(str(each.get("text", ""))),
                learned=bool(each.get("learned", False)),
                token_count=int(each.get("tokenCount", 0)),
            )
            for each in example.get("segments", ())
        ),
        token_count=int(example.get("tokenCount", 0)),
        learned_token_count=int(example.get("learnedTokenCount", 0)),
        as_served=example.get("identicalToServing"),
    )


def _shown(text: str) -> str:
    return "".join(_VISIBLE.get(character, character) for character in text)
