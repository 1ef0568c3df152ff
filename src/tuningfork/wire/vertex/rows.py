"""Reads the rows of a training file: a line of JSON Lines becomes a conversation, or a sentence about what is wrong.

    {"systemInstruction": {"parts": [{"text": "..."}]},
     "contents": [{"role": "user", "parts": [{"text": "..."}]}, {"role": "model", "parts": [{"text": "..."}]}]}
    {"messages": [{"role": "system", "content": "..."}, {"role": "user", "content": "..."}, {"role": "model", ...}]}

The second form is that of earlier models. Names may be in camelCase or snake_case, roles in upper or lower case.
An entry may have a `weight`: a turn of the model with weight 0 is only context. What would change the training and
cannot be trained on here, such as files and function calls, is refused with its place, never left out.
Neighbouring entries of one role and weight become one turn, as in prompts.

Source: vertex-api sections 5.1 to 5.4 and 9.2.
"""

import json
from collections.abc import Iterator, Mapping
from itertools import groupby
from typing import Any, Literal

from tuningfork.domain.conversation import Conversation, Speaker, Turn
from tuningfork.domain.errors import InvalidArgument
from tuningfork.domain.training_rows import Row
from tuningfork.wire.google.prompts import instruction_of

_MOST_QUOTED = 40
_SYSTEM = ("systemInstruction", "system_instruction")
_SETTINGS = ("generationConfig", "generation_config")
_MEDIA_RESOLUTION = {"mediaResolution", "media_resolution"}
_CONTENT_SPEAKERS = {speaker.value: speaker for speaker in Speaker}
_MESSAGE_SPEAKERS = {**_CONTENT_SPEAKERS, "assistant": Speaker.MODEL}
_UNTRAINED_PARTS = {
    "fileData": "a file",
    "inlineData": "a file",
    "functionCall": "a function call",
    "functionResponse": "the response of a function",
    "executableCode": "code",
    "codeExecutionResult": "the result of code",
    "thought": "a thought",
}
_UNTRAINED_FIELDS = {
    "tools": "function declarations are not trained on here; leave out tools, and rows with function calls.",
    "toolConfig": "function declarations are not trained on here; leave out toolConfig.",
    "completions": (
        "rows with completions are for preference tuning, which is not served here; leave out the rows, or give the "
        "preferred answer as the last entry of contents."
    ),
}

_Entry = tuple[Speaker, Literal[0, 1], str]


def read_row(line: bytes) -> Row:
    """The example of one line, in either form.

    Raises:
        InvalidArgument: the line cannot be trained on; the message is a sentence about the row.

    """
    fields = _object_in(line)
    if fields.get("contents") is None and fields.get("messages") is not None:
        return _row_of_messages(fields)
    contents = fields.get("contents")
    if contents is None:
        raise InvalidArgument(f"Missing required 'contents' field.{_cure_of(fields)}")
    _refuse_others(fields)
    entries = [_entry_of(entry, f"contents[{index}]") for index, entry in enumerate(_list_of(contents, "contents"))]
    return _row(entries, _instruction_in(fields), "contents")


def _instruction_in(fields: Mapping[str, Any]) -> str | None:
    """The system instruction, whose role means nothing; None if there is none, or no text in it."""
    given = [fields[name] for name in _SYSTEM if fields.get(name) is not None]
    if len(given) > 1:
        raise InvalidArgument("systemInstruction: was given twice, as system_instruction too; give one of them.")
    return instruction_of(_texts_of(given[0], "systemInstruction")) or None if given else None


def _object_in(line: bytes) -> dict[str, Any]:
    try:
        text = line.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidArgument(f"The row is not UTF-8: byte {error.start} is 0x{line[error.start]:02x}.") from error
    try:
        fields = json.loads(text)
    except json.JSONDecodeError as error:
        raise InvalidArgument(f"The row is not valid JSON: {error.msg} (character {error.colno}).") from error
    except RecursionError as error:
        raise InvalidArgument("The row is nested too deep.") from error
    except ValueError as error:
        # Python refuses to read a number of thousands of digits.
        raise InvalidArgument("The row has a number with too many digits.") from error
    if not isinstance(fields, dict):
        raise InvalidArgument(f"A row must be a JSON object; {_kind(fields)} was given.")
    return fields


def _cure_of(fields: Mapping[str, Any]) -> str:
    """What to do about a row without contents, if it is of a form that is known."""
    if fields.keys() & {"input_text", "output_text"}:
        return (
            " Rows of input_text and output_text are of an earlier service; write "
            '{"contents": [{"role": "user", "parts": [{"text": input_text}]}, '
            '{"role": "model", "parts": [{"text": output_text}]}]}.'
        )
    return ""


def _refuse_others(fields: Mapping[str, Any]) -> None:
    """Refuse what stands beside contents and system instruction, and would be lost."""
    for name, value in fields.items():
        if name == "contents" or name in _SYSTEM or value is None or value in ({}, []):
            continue
        if (reason := _UNTRAINED_FIELDS.get(_camel(name))) is not None:
            raise InvalidArgument(f"{_camel(name)}: {reason}")
        if name not in _SETTINGS:
            raise InvalidArgument(
                f"Unknown field {_quoted(name)}; a row may have contents, systemInstruction and generationConfig."
            )
        if not isinstance(value, Mapping) or value.keys() - _MEDIA_RESOLUTION:
            raise InvalidArgument(
                "generationConfig: a row may set mediaResolution there and nothing else; other settings are given when "
                "the tuned model is called."
            )


def _entry_of(entry: Any, where: str) -> _Entry:
    """One content: whose it is, its weight, and its text."""
    if not isinstance(entry, Mapping):
        raise InvalidArgument(f"{where}: a content must be an object with role and parts; {_kind(entry)} was given.")
    unknown = entry.keys() - {"role", "parts", "weight"}
    if unknown:
        raise InvalidArgument(f"{where}: unknown field {_quoted(min(unknown))}; it may have role, parts and weight.")
    # Responses of functions may have no role, and are refused as what they are.
    text = "".join(_texts_of(entry, where))
    return _speaker_of(entry, where, _CONTENT_SPEAKERS), _weight_of(entry, where), text


def _texts_of(content: Any, where: str) -> list[str]:
    """The texts of a content's parts; a single part may stand without a list."""
    if not isinstance(content, Mapping) or content.get("parts") is None:
        raise InvalidArgument(f"{where}: parts are missing; give a list of parts with text.")
    parts = content["parts"]
    listed = [parts] if isinstance(parts, Mapping) else _list_of(parts, f"{where}.parts")
    return [_text_of(part, f"{where}.parts[{index}]") for index, part in enumerate(listed)]


def _text_of(part: Any, where: str) -> str:
    if not isinstance(part, Mapping):
        raise InvalidArgument(f"{where}: a part must be an object with text; {_kind(part)} was given.")
    for name, value in part.items():
        if name == "text" or value is None:
            continue
        untrained = _UNTRAINED_PARTS.get(_camel(name))
        if untrained is None:
            raise InvalidArgument(f"{where}: unknown field {_quoted(name)}; a part has text.")
        if value is not False:
            raise InvalidArgument(
                f"{where}.{_camel(name)}: {untrained} was given, and this base model is tuned on text only; leave out "
                "the row, or write what it says as text."
            )
    text = part.get("text")
    if not isinstance(text, str):
        raise InvalidArgument(f"{where}.text: a text is wanted; {_kind(text)} was given.")
    return text


def _row_of_messages(fields: Mapping[str, Any]) -> Row:
    if others := {name for name, value in fields.items() if value is not None} - {"messages"}:
        raise InvalidArgument(f"Unknown field {_quoted(min(others))}; a row of messages has nothing beside them.")
    messages = _list_of(fields["messages"], "messages")
    system = _system_of(messages)
    said = messages if system is None else messages[1:]
    first = len(messages) - len(said)
    entries = [_message_of(message, f"messages[{index}]") for index, message in enumerate(said, start=first)]
    return _row(entries, system or None, "messages", first)


def _system_of(messages: list[Any]) -> str | None:
    """The system message, which may only be the first; None: there is none."""
    first = messages[0] if messages else None
    if not isinstance(first, Mapping) or str(first.get("role")).lower() != "system":
        return None
    return _content_of(first, "messages[0]")


def _message_of(message: Any, where: str) -> _Entry:
    if not isinstance(message, Mapping):
        raise InvalidArgument(
            f"{where}: a message must be an object with role and content; {_kind(message)} was given."
        )
    speaker = _speaker_of(message, where, _MESSAGE_SPEAKERS)
    return speaker, _weight_of(message, where), _content_of(message, where)


def _content_of(message: Mapping[str, Any], where: str) -> str:
    if unknown := {name for name, value in message.items() if value is not None} - {"role", "content", "weight"}:
        raise InvalidArgument(f"{where}: unknown field {_quoted(min(unknown))}; it may have role, content and weight.")
    content = message.get("content")
    if not isinstance(content, str):
        raise InvalidArgument(f"{where}.content: a text is wanted; {_kind(content)} was given.")
    return content


def _speaker_of(entry: Mapping[str, Any], where: str, allowed: Mapping[str, Speaker]) -> Speaker:
    role = entry.get("role")
    found = allowed.get(role.lower()) if isinstance(role, str) else None
    if found is None:
        given = "none" if role is None else _quoted(role) if isinstance(role, str) else _kind(role)
        raise InvalidArgument(f"{where}.role: must be user or model; {given} was given.")
    return found


def _weight_of(entry: Mapping[str, Any], where: str) -> Literal[0, 1]:
    weight = entry.get("weight")
    if weight is None:
        return 1
    if isinstance(weight, bool) or weight not in (0, 1, "0", "1"):
        raise InvalidArgument(f"{where}.weight: must be 0 or 1.")
    return 1 if int(weight) else 0


def _row(entries: list[_Entry], system: str | None, name: str, first: int = 0) -> Row:
    """The row of these entries, in which `first` is the place of the first one in the list called `name`.

    Raises:
        InvalidArgument: a model cannot learn from them in this order.

    """
    if not entries:
        raise InvalidArgument(f"{name}: at least a turn of the user and a turn of the model are required.")
    if entries[0][0] is not Speaker.USER:
        raise InvalidArgument(f"{name}[{first}].role: the first turn must be the user's.")
    if entries[-1][0] is not Speaker.MODEL:
        raise InvalidArgument(f"{name}[{first + len(entries) - 1}].role: the last turn must be the model's.")
    if not any(speaker is Speaker.MODEL and weight for speaker, weight, _ in entries):
        raise InvalidArgument(f"{name}: every turn of the model has weight 0, so nothing is learned from this row.")
    return Row(example=Conversation(turns=tuple(_turns(entries)), system_instruction=system), messages=len(entries))


def _turns(entries: list[_Entry]) -> Iterator[Turn]:
    for (speaker, weight), neighbours in groupby(entries, key=_kind_of_turn):
        yield Turn.said(speaker, "\n".join(text for _, _, text in neighbours), weight)


def _kind_of_turn(entry: _Entry) -> tuple[Speaker, Literal[0, 1]]:
    speaker, weight, _ = entry
    # The weight of a user's turn means nothing.
    return speaker, weight if speaker is Speaker.MODEL else 1


def _list_of(value: Any, where: str) -> list[Any]:
    if not isinstance(value, list):
        raise InvalidArgument(f"{where}: must be a list; {_kind(value)} was given.")
    return value


def _camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(word.capitalize() for word in rest)


def _quoted(name: str) -> str:
    return repr(name if len(name) <= _MOST_QUOTED else f"{name[:_MOST_QUOTED]}...")


def _kind(value: Any) -> str:
    """What a value is, as a message says it."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true or false"
    kinds: dict[type, str] = {str: "a text", int: "a number", float: "a number", dict: "an object", list: "a list"}
    return kinds[type(value)]
