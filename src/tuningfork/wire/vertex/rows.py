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
from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeVar

from tuningfork.domain.conversation import Conversation, Speaker, Turn
from tuningfork.domain.errors import InvalidArgument
from tuningfork.domain.text import refusal_of
from tuningfork.domain.training_rows import Row
from tuningfork.wire.google.prompts import instruction_of

_MOST_QUOTED = 40
_SYSTEM = ("systemInstruction", "system_instruction")
_SETTINGS = ("generationConfig", "generation_config")
_MEDIA_RESOLUTION = {"mediaResolution", "media_resolution"}
_INSTRUCTION_FIELDS = {"role", "parts"}
_CONTENT_FIELDS = {"role", "parts", "weight"}
_MESSAGE_FIELDS = {"role", "content", "weight"}
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
_Read = TypeVar("_Read")


class _Wrong(Exception):
    """What is wrong with a value; `place` leads to it from the value that is being read."""

    def __init__(self, reason: str, place: str = "") -> None:
        self.reason = reason
        self.place = place

    def below(self, name: str) -> "_Wrong":
        """The same, seen from the value that has the one with the fault under this name."""
        return _Wrong(self.reason, name + (f".{self.place}" if self.place[:1] not in ("", "[") else self.place))


def read_row(line: bytes) -> Row:
    """The example of one line, in either form. It meets the rules of every dataset (`domain.dataset`).

    Raises:
        InvalidArgument: the line cannot be trained on; the message is a sentence about the row.

    """
    fields = _object_in(line)
    try:
        if fields.get("contents") is None and fields.get("messages") is not None:
            return _row_of_messages(fields)
        return _row_of_contents(fields)
    except _Wrong as wrong:
        raise InvalidArgument(f"{wrong.place}: {wrong.reason}" if wrong.place else wrong.reason) from wrong


def _row_of_contents(fields: Mapping[str, Any]) -> Row:
    contents = fields.get("contents")
    if contents is None:
        raise _Wrong(f"Missing required 'contents' field.{_cure_of(fields)}")
    _refuse_others(fields)
    return _row(_each(_entry_of, contents, "contents"), _instruction_in(fields), "contents")


def _instruction_in(fields: Mapping[str, Any]) -> str | None:
    """The system instruction, whose role means nothing; None if there is none, or no text in it."""
    given = [fields[name] for name in _SYSTEM if fields.get(name) not in (None, {})]
    if len(given) > 1:
        raise _Wrong("was given twice, as system_instruction too; give one of them.", _SYSTEM[0])
    try:
        return instruction_of(_texts_of_instruction(given[0])) or None if given else None
    except _Wrong as wrong:
        raise wrong.below(_SYSTEM[0]) from wrong


def _each(read: Callable[[Any], _Read], values: Any, name: str) -> list[_Read]:
    """Read the values of the list called `name`, and add the place to what is wrong with one."""
    if not isinstance(values, list):
        raise _Wrong(f"must be a list; {_kind(values)} was given.", name)
    found: list[_Read] = []
    try:
        # Not a comprehension: how many were read is the place of the fault.
        for value in values:
            found.append(read(value))  # noqa: PERF401
    except _Wrong as wrong:
        raise wrong.below(f"{name}[{len(found)}]") from wrong
    return found


def _object_in(line: bytes) -> dict[str, Any]:
    try:
        text = line.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidArgument(f"The row is not UTF-8: byte {error.start} is 0x{line[error.start]:02x}.") from error
    try:
        fields = json.loads(text, object_pairs_hook=_once_each)
    except _Wrong as error:
        raise InvalidArgument(error.reason) from error
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


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The members of an object of the row; of two with one name the first would be lost."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise _Wrong(f"The row has {_quoted(twice)} twice in one object; give it once.")
    return found


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
            raise _Wrong(reason, _camel(name))
        if name not in _SETTINGS:
            raise _Wrong(
                f"Unknown field {_quoted(name)}; a row may have contents, systemInstruction and generationConfig."
            )
        if not isinstance(value, dict) or value.keys() - _MEDIA_RESOLUTION:
            raise _Wrong(
                "a row may set mediaResolution there and nothing else; other settings are given when the tuned model "
                "is called.",
                _SETTINGS[0],
            )


def _entry_of(entry: Any) -> _Entry:
    """One content: whose it is, its weight, and its text."""
    if not isinstance(entry, dict):
        raise _Wrong(f"a content must be an object with role and parts; {_kind(entry)} was given.")
    if unknown := entry.keys() - _CONTENT_FIELDS:
        raise _Wrong(f"unknown field {_quoted(min(unknown))}; it may have role, parts and weight.")
    # Responses of functions may have no role, and are refused as what they are.
    text = "".join(_texts_of(entry))
    return _speaker_of(entry, _CONTENT_SPEAKERS), _weight_of(entry), text


def _texts_of_instruction(instruction: Any) -> list[str]:
    """The texts of a system instruction's parts."""
    if isinstance(instruction, dict) and (unknown := instruction.keys() - _INSTRUCTION_FIELDS):
        raise _Wrong(f"unknown field {_quoted(min(unknown))}; it may have role and parts.")
    return _texts_of(instruction)


def _texts_of(content: Any) -> list[str]:
    """The texts of a content's parts; a single part may stand without a list."""
    parts = content.get("parts") if isinstance(content, dict) else None
    if parts is None:
        raise _Wrong("parts are missing; give a list of parts with text.")
    return _each(_text_of, [parts] if isinstance(parts, dict) else parts, "parts")


def _text_of(part: Any) -> str:
    if not isinstance(part, dict):
        raise _Wrong(f"a part must be an object with text; {_kind(part)} was given.")
    if len(part) > 1 or "text" not in part:
        _refuse_untrained(part)
    return _text_in(part, "text")


def _refuse_untrained(part: Mapping[str, Any]) -> None:
    """Refuse what a part says beside its text, and would be lost."""
    for name, value in part.items():
        if name == "text" or value is None:
            continue
        untrained = _UNTRAINED_PARTS.get(_camel(name))
        if untrained is None:
            raise _Wrong(f"unknown field {_quoted(name)}; a part has text.")
        if value is not False:
            raise _Wrong(
                f"{untrained} was given, and this base model is tuned on text only; leave out the row, or write what "
                "it says as text.",
                _camel(name),
            )


def _row_of_messages(fields: Mapping[str, Any]) -> Row:
    if others := {name for name, value in fields.items() if value is not None} - {"messages"}:
        raise _Wrong(f"Unknown field {_quoted(min(others))}; a row of messages has nothing beside them.")
    said = _each(_message_of, fields["messages"], "messages")
    system = next((text for speaker, _, text in said[:1] if speaker is None), None)
    first = 0 if system is None else 1
    entries: list[_Entry] = []
    for index, (speaker, weight, text) in enumerate(said[first:], start=first):
        if speaker is None:
            raise _Wrong("must be user or model; only the first message may be system.", f"messages[{index}].role")
        entries.append((speaker, weight, text))
    return _row(entries, system or None, "messages", first)


def _message_of(message: Any) -> tuple[Speaker | None, Literal[0, 1], str]:
    """One message: whose it is, its weight, and its text. Whose it is None: it is a system message."""
    if not isinstance(message, dict):
        raise _Wrong(f"a message must be an object with role and content; {_kind(message)} was given.")
    if unknown := {name for name, value in message.items() if value is not None} - _MESSAGE_FIELDS:
        raise _Wrong(f"unknown field {_quoted(min(unknown))}; it may have role, content and weight.")
    role = message.get("role")
    is_system = isinstance(role, str) and role.lower() == "system"
    speaker = None if is_system else _speaker_of(message, _MESSAGE_SPEAKERS)
    return speaker, _weight_of(message), _text_in(message, "content")


def _text_in(holder: Mapping[str, Any], name: str) -> str:
    text = holder.get(name)
    if not isinstance(text, str):
        raise _Wrong(f"a text is wanted; {_kind(text)} was given.", name)
    if refusal := refusal_of(text):
        raise _Wrong(f"{refusal}.", name)
    return text


def _speaker_of(entry: Mapping[str, Any], allowed: Mapping[str, Speaker]) -> Speaker:
    role = entry.get("role")
    found = allowed.get(role.lower()) if isinstance(role, str) else None
    if found is None:
        given = "none" if role is None else _quoted(role) if isinstance(role, str) else _kind(role)
        raise _Wrong(f"must be user or model; {given} was given.", "role")
    return found


def _weight_of(entry: Mapping[str, Any]) -> Literal[0, 1]:
    weight = entry.get("weight")
    if weight is None:
        return 1
    if isinstance(weight, bool) or weight not in (0, 1, "0", "1"):
        raise _Wrong("must be 0 or 1.", "weight")
    return 1 if int(weight) else 0


def _row(entries: list[_Entry], system: str | None, name: str, first: int = 0) -> Row:
    """The row of these entries, in which `first` is the place of the first one in the list called `name`.

    Raises:
        _Wrong: a model cannot learn from them in this order.

    """
    if not entries:
        raise _Wrong("at least a turn of the user and a turn of the model are required.", name)
    if entries[0][0] is not Speaker.USER:
        raise _Wrong("the first turn must be the user's.", f"{name}[{first}].role")
    if entries[-1][0] is not Speaker.MODEL:
        raise _Wrong("the last turn must be the model's.", f"{name}[{first + len(entries) - 1}].role")
    learned = [index for index, (speaker, weight, _) in enumerate(entries) if speaker is Speaker.MODEL and weight]
    if not learned:
        raise _Wrong("every turn of the model has weight 0, so nothing is learned from this row.", name)
    if empty := [index for index in learned if not entries[index][2]]:
        raise _Wrong("a turn of the model that is learned must not be empty.", f"{name}[{first + empty[0]}]")
    return Row(example=Conversation(turns=_turns(entries), system_instruction=system), messages=len(entries))


def _turns(entries: list[_Entry]) -> tuple[Turn, ...]:
    """The turns of these entries, of which neighbours of one speaker and weight are one turn."""
    turns: list[tuple[Speaker, Literal[0, 1], list[str]]] = []
    for speaker, given, text in entries:
        # The weight of a user's turn means nothing.
        weight = given if speaker is Speaker.MODEL else 1
        if turns and turns[-1][:2] == (speaker, weight):
            turns[-1][2].append(text)
        else:
            turns.append((speaker, weight, [text]))
    return tuple(Turn(speaker, ("\n".join(texts),), weight) for speaker, weight, texts in turns)


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
