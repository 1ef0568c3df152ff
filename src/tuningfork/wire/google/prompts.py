"""Parses contents as a prompt: turns of user and model, in text.

The API does not define two details. Here the texts of one content's parts are joined without a separator, and
neighbouring contents of one role become one turn, joined by a line break: the API accepts such contents, and many chat
templates of open models do not. Each part of a system instruction is a paragraph of its own, as the API says.
"""

from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter

from tuningfork.domain.conversation import Conversation, Speaker, Turn
from tuningfork.domain.errors import FieldViolation, InvalidArgument
from tuningfork.wire.google.proto_json.decode import Fields
from tuningfork.wire.google.requests import refused

_DATA = {
    "inline_data",
    "function_call",
    "function_response",
    "file_data",
    "executable_code",
    "code_execution_result",
}


@dataclass(frozen=True, slots=True)
class Site:
    """Where a prompt is, for error messages: the request's name, and the path to the message that holds the prompt."""

    request: str
    prefix: str = ""

    def refusal(self, field: str, reason: str) -> InvalidArgument:
        """The error about one field of the message, with a violation that names the field's path."""
        return refused(self.request, (FieldViolation(field=self.prefix + field, description=reason),))

    def bare_refusal(self, field: str, reason: str) -> InvalidArgument:
        """The same error without a violation, as the real service was observed to answer."""
        return InvalidArgument(f"* {self.request}.{self.prefix}{field}: {reason}\n")


def parse_prompt(message: Fields, site: Site, *, must_end_with_user: bool) -> Conversation:
    """The prompt of a message that has `contents` and perhaps a `system_instruction`.

    Args:
        message: the decoded message.
        site: where the message is, for errors.
        must_end_with_user: whether the last turn must be the user's, since an answer is wanted.

    Raises:
        InvalidArgument: there are no contents, a content's role is unknown, or a part is not text.

    """
    contents: list[Fields] = message.get("contents", [])
    if not contents:
        raise site.bare_refusal("contents", "contents is not specified")
    alone = len(contents) == 1
    turns = [
        Turn.said(_speaker(content, alone=alone), _text(content, site, f"contents[{index}]"))
        for index, content in enumerate(contents)
    ]
    if must_end_with_user and turns[-1].speaker is not Speaker.USER:
        raise InvalidArgument("Please ensure that multiturn requests ends with a user role or a function response")
    return Conversation(turns=joined_turns(turns), system_instruction=_system_instruction(message, site))


def _speaker(content: Fields, *, alone: bool) -> Speaker:
    role = content.get("role", "")
    if not role and alone:
        return Speaker.USER
    try:
        return Speaker(role)
    except ValueError as error:
        raise InvalidArgument("Please use a valid role: user, model.") from error


def _text(content: Fields, site: Site, where: str) -> str:
    parts: list[Fields] = content.get("parts", [])
    if not parts:
        raise site.bare_refusal(f"{where}.parts", "contents.parts must not be empty.")
    return "".join(_texts(parts, site, where))


def _texts(parts: list[Fields], site: Site, where: str) -> list[str]:
    return [_part_text(part, site, f"{where}.parts[{index}]") for index, part in enumerate(parts)]


def _part_text(part: Fields, site: Site, where: str) -> str:
    if "text" in part:
        return str(part["text"])
    for kind in part:
        if kind in _DATA:
            raise site.refusal(f"{where}.{kind}", f"this server takes text parts only; {kind} was given")
    raise site.refusal(f"{where}.data", "required oneof field 'data' must have one initialized field")


def joined_turns(turns: list[Turn]) -> tuple[Turn, ...]:
    """The turns with neighbours of one speaker joined by a line break."""
    return tuple(
        Turn.said(speaker, "\n".join(turn.text for turn in neighbours))
        for speaker, neighbours in groupby(turns, key=attrgetter("speaker"))
    )


def _system_instruction(message: Fields, site: Site) -> str | None:
    # The role of a system instruction is ignored: google-genai sends "user".
    content: Fields | None = message.get("system_instruction")
    if not content or not content.get("parts"):
        return None
    return instruction_of(_texts(content["parts"], site, "system_instruction")) or None


def instruction_of(texts: list[str]) -> str:
    """The system instruction whose parts have these texts: each is a paragraph."""
    return "\n\n".join(texts)
