"""Parses training examples that are conversations: `multiturnExamples` of `v1alpha`.

Source: gemini-api section 7.2; google/ai/generativelanguage/v1alpha/tuned_model.proto.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from tuningfork.domain.conversation import Conversation, Speaker, Turn
from tuningfork.domain.errors import FieldViolation
from tuningfork.wire.google.prompts import joined_turns
from tuningfork.wire.google.proto_json.decode import Fields
from tuningfork.wire.google.requests import RequestWords

_ROLES = tuple(speaker.value for speaker in Speaker)


def parse_conversation(example: Fields) -> Conversation:
    """The conversation of an example without faults (`faults_of`).

    Neighbouring contents of one role become one turn, as in prompts.
    """
    system = example.get("system_instruction", {})
    turns = [Turn.said(Speaker(content["role"]), _text(content)) for content in example["contents"]]
    return Conversation(turns=joined_turns(turns), system_instruction=_text(system) or None)


def faults_of(example: Fields, path: str) -> Iterator[FieldViolation]:
    """Everything in an example that a domain conversation cannot express."""
    contents: list[Fields] = example.get("contents", [])
    if not contents:
        yield FieldViolation(field=f"{path}.contents", description="contents is missing")
    for index, content in enumerate(contents):
        role = content.get("role", "")
        if role not in _ROLES:
            described = f"role must be {' or '.join(_ROLES)}; {role[:40]!r} was given"
            yield FieldViolation(field=f"{path}.contents[{index}].role", description=described)
        yield from _faults_of_parts(content, f"{path}.contents[{index}]")
    yield from _faults_of_parts(example.get("system_instruction", {}), f"{path}.system_instruction")


def _faults_of_parts(content: Fields, path: str) -> Iterator[FieldViolation]:
    for index, part in enumerate(content.get("parts", [])):
        if "text" not in part:
            yield FieldViolation(field=f"{path}.parts[{index}].text", description="text is missing")


def _text(content: Fields) -> str:
    return "".join(part["text"] for part in content.get("parts", []))


@dataclass(frozen=True, slots=True, kw_only=True)
class ExampleWords(RequestWords):
    """Translates errors about a create request whose first `pairs` examples are pairs, and all others conversations."""

    pairs: int
    conversations_path: str

    def place(self, path: str) -> str:
        """The path in the request message for a domain path."""
        name, _, rest = path.partition("[")
        number, _, behind = rest.partition("]")
        if name != "examples" or not number.isdecimal() or int(number) < self.pairs:
            return RequestWords.place(self, path)
        behind = behind.replace(".turns[", ".contents[")
        return f"{self.conversations_path}[{int(number) - self.pairs}]{behind}"
