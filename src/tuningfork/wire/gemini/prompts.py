"""Contents to a prompt: who said what, in text.

Two things are decided here that the dialect leaves open. The texts of one content's parts are joined without a
separator, as the parts of one message. Neighbouring contents of one role are joined by a line break into one turn:
the API takes them, and many chat templates of open models do not.
"""

from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter

from tuningfork.domain.errors import FieldViolation, InvalidArgument
from tuningfork.domain.generation import Prompt, Speaker, Turn
from tuningfork.wire.proto_json.decode import Fields

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
    """Where a prompt stands, for the messages: the request's name, and the path to the message that holds it."""

    request: str
    prefix: str = ""

    def refusal(self, field: str, reason: str) -> InvalidArgument:
        """The error of one field below the site, with its path as the violation."""
        return InvalidArgument.of(self.request, (FieldViolation(field=self.prefix + field, description=reason),))

    def bare_refusal(self, field: str, reason: str) -> InvalidArgument:
        """The same without details, as the real service answers where that was observed."""
        return InvalidArgument(f"* {self.request}.{self.prefix}{field}: {reason}\n")


def parse_prompt(message: Fields, site: Site, *, must_end_with_user: bool) -> Prompt:
    """The prompt of a message that has `contents` and perhaps a `system_instruction`.

    Args:
        message: decoded.
        site: how to speak of it.
        must_end_with_user: whether an answer is wanted, so that the last word must be the user's.

    Raises:
        InvalidArgument: nothing is said, or by nobody, or not in text.

    """
    contents: list[Fields] = message.get("contents", [])
    if not contents:
        raise site.bare_refusal("contents", "contents is not specified")
    alone = len(contents) == 1
    turns = [
        Turn(_speaker(content, alone=alone), _text(content, site, f"contents[{index}]"))
        for index, content in enumerate(contents)
    ]
    if must_end_with_user and turns[-1].speaker is not Speaker.USER:
        raise InvalidArgument("Please ensure that multiturn requests ends with a user role or a function response")
    return Prompt(turns=_joined(turns), system_instruction=_system_instruction(message, site))


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
    return "".join(_part_text(part, site, f"{where}.parts[{index}]") for index, part in enumerate(parts))


def _part_text(part: Fields, site: Site, where: str) -> str:
    if "text" in part:
        return str(part["text"])
    for kind in part:
        if kind in _DATA:
            raise site.refusal(f"{where}.{kind}", f"this server takes text parts only; {kind} was given")
    raise site.refusal(f"{where}.data", "required oneof field 'data' must have one initialized field")


def _joined(turns: list[Turn]) -> tuple[Turn, ...]:
    return tuple(
        Turn(speaker, "\n".join(turn.text for turn in neighbours))
        for speaker, neighbours in groupby(turns, key=attrgetter("speaker"))
    )


def _system_instruction(message: Fields, site: Site) -> str | None:
    # Its role does not count: google-genai sends "user".
    content: Fields | None = message.get("system_instruction")
    if not content or not content.get("parts"):
        return None
    return _text(content, site, "system_instruction") or None
