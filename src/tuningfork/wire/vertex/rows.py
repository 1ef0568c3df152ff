"""Reads the rows of a training file: a line of JSON Lines becomes a conversation, or a sentence about what is wrong.

    {"systemInstruction": {"parts": [{"text": "..."}]},
     "contents": [{"role": "user", "parts": [{"text": "..."}]}, {"role": "model", "parts": [{"text": "..."}]}]}
    {"messages": [{"role": "system", "content": "..."}, {"role": "user", "content": "..."}, {"role": "model", ...}]}

The second form is that of earlier models. Names may be in camelCase or snake_case, roles in upper or lower case.
An entry may have a `weight`: a turn of the model with weight 0 is only context. What would change the training and
cannot be trained on here, such as files, is refused with its place, never left out.
Neighbouring entries of one role and weight become one turn, as in prompts. A row with function calls or `tools` becomes
a conversation with calls, which a base is trained on whose chat template writes them.

Source: vertex-api sections 5.1 to 5.4 and 9.2.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from tuningfork.domain.conversation import Conversation, Speaker, Turn
from tuningfork.domain.errors import InvalidArgument
from tuningfork.domain.function_calls import CallingConversation, CallingTurn, FunctionCall, FunctionResponse
from tuningfork.domain.text import refusal_of
from tuningfork.domain.training_rows import CallingRow, Row
from tuningfork.wire.google.prompts import instruction_of
from tuningfork.wire.vertex.function_rows import read_call, read_response, read_tools
from tuningfork.wire.vertex.row_faults import Wrong, camel, each, kind, quoted

_SYSTEM = ("systemInstruction", "system_instruction")
_SETTINGS = ("generationConfig", "generation_config")
_MEDIA_RESOLUTION = {"mediaResolution", "media_resolution"}
_INSTRUCTION_FIELDS = {"role", "parts"}
_CONTENT_FIELDS = {"role", "parts", "weight"}
_MESSAGE_FIELDS = {"role", "content", "weight"}
_CONTENT_SPEAKERS = {speaker.value: speaker for speaker in Speaker}
_RESPONDING_SPEAKERS = dict.fromkeys(("user", "function", "tool"), Speaker.USER)
_MESSAGE_SPEAKERS = {**_CONTENT_SPEAKERS, "assistant": Speaker.MODEL}
_UNTRAINED_PARTS = {
    "fileData": "a file",
    "inlineData": "a file",
    "executableCode": "code",
    "codeExecutionResult": "the result of code",
    "thought": "a thought",
}
_UNTRAINED_FIELDS = {
    "toolConfig": "how functions are to be called is not trained on here; leave out toolConfig.",
    "completions": (
        "rows with completions are for preference tuning, which is not served here; leave out the rows, or give the "
        "preferred answer as the last entry of contents."
    ),
}


@dataclass(frozen=True, slots=True)
class _Entry:
    """One content or message. `weight` means nothing where the user speaks."""

    speaker: Speaker
    weight: Literal[0, 1]
    text: str = ""
    calls: tuple[FunctionCall, ...] = ()
    responses: tuple[FunctionResponse, ...] = ()

    @property
    def is_text(self) -> bool:
        return not self.calls and not self.responses


def read_row(line: bytes) -> Row | CallingRow:
    """The example of one line, in either form. One without function calls meets the rules of every dataset.

    Raises:
        InvalidArgument: the line cannot be trained on; the message is a sentence about the row.

    """
    fields = _object_in(line)
    try:
        if fields.get("contents") is None and fields.get("messages") is not None:
            return _row_of_messages(fields)
        return _row_of_contents(fields)
    except Wrong as wrong:
        raise InvalidArgument(f"{wrong.place}: {wrong.reason}" if wrong.place else wrong.reason) from wrong


def _row_of_contents(fields: Mapping[str, Any]) -> Row | CallingRow:
    contents = fields.get("contents")
    if contents is None:
        raise Wrong(f"Missing required 'contents' field.{_cure_of(fields)}")
    _refuse_others(fields)
    tools = read_tools(fields["tools"]) if fields.get("tools") else ()
    return _row(each(_entry_of, contents, "contents"), _instruction_in(fields), "contents", tools=tools)


def _instruction_in(fields: Mapping[str, Any]) -> str | None:
    """The system instruction, whose role means nothing; None if there is none, or no text in it."""
    given = [fields[name] for name in _SYSTEM if fields.get(name) not in (None, {})]
    if len(given) > 1:
        raise Wrong("was given twice, as system_instruction too; give one of them.", _SYSTEM[0])
    try:
        return instruction_of(_texts_of_instruction(given[0])) or None if given else None
    except Wrong as wrong:
        raise wrong.below(_SYSTEM[0]) from wrong


def _object_in(line: bytes) -> dict[str, Any]:
    try:
        text = line.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidArgument(f"The row is not UTF-8: byte {error.start} is 0x{line[error.start]:02x}.") from error
    try:
        fields = json.loads(text, object_pairs_hook=_once_each)
    except Wrong as error:
        raise InvalidArgument(error.reason) from error
    except json.JSONDecodeError as error:
        raise InvalidArgument(f"The row is not valid JSON: {error.msg} (character {error.colno}).") from error
    except RecursionError as error:
        raise InvalidArgument("The row is nested too deep.") from error
    except ValueError as error:
        # Python refuses to read a number of thousands of digits.
        raise InvalidArgument("The row has a number with too many digits.") from error
    if not isinstance(fields, dict):
        raise InvalidArgument(f"A row must be a JSON object; {kind(fields)} was given.")
    return fields


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The members of an object of the row; of two with one name the first would be lost."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise Wrong(f"The row has {quoted(twice)} twice in one object; give it once.")
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
        if name in ("contents", "tools") or name in _SYSTEM or value is None or value in ({}, []):
            continue
        if (reason := _UNTRAINED_FIELDS.get(camel(name))) is not None:
            raise Wrong(reason, camel(name))
        if name not in _SETTINGS:
            raise Wrong(
                f"Unknown field {quoted(name)}; a row may have contents, systemInstruction, tools and generationConfig."
            )
        if not isinstance(value, dict) or value.keys() - _MEDIA_RESOLUTION:
            raise Wrong(
                "a row may set mediaResolution there and nothing else; other settings are given when the tuned model "
                "is called.",
                _SETTINGS[0],
            )


def _entry_of(entry: Any) -> _Entry:
    """One content: whose it is, its weight, and its text."""
    if not isinstance(entry, dict):
        raise Wrong(f"a content must be an object with role and parts; {kind(entry)} was given.")
    if unknown := entry.keys() - _CONTENT_FIELDS:
        raise Wrong(f"unknown field {quoted(min(unknown))}; it may have role, parts and weight.")
    parts = _parts_of(entry)
    texts = [part for part in parts if isinstance(part, str)]
    calls = tuple(part for part in parts if isinstance(part, FunctionCall))
    responses = tuple(part for part in parts if isinstance(part, FunctionResponse))
    if responses and len(responses) < len(parts):
        raise Wrong("has responses of functions beside other parts; give them a content of their own.", "parts")
    if calls and parts[-len(calls) :] != list(calls):
        raise Wrong("has a text after a function call; texts come first.", "parts")
    role = {**entry, "role": entry.get("role") or "user"} if responses else entry
    speaker = _speaker_of(role, _RESPONDING_SPEAKERS) if responses else _speaker_of(role, _CONTENT_SPEAKERS)
    if calls and speaker is not Speaker.MODEL:
        raise Wrong("must be model, since the content has function calls.", "role")
    return _Entry(speaker, _weight_of(entry), "".join(texts), calls, responses)


def _texts_of_instruction(instruction: Any) -> list[str]:
    """The texts of a system instruction's parts."""
    if isinstance(instruction, dict) and (unknown := instruction.keys() - _INSTRUCTION_FIELDS):
        raise Wrong(f"unknown field {quoted(min(unknown))}; it may have role and parts.")
    parts = _parts_of(instruction)
    for index, part in enumerate(parts):
        if not isinstance(part, str):
            raise Wrong("a system instruction has parts with text.", f"parts[{index}]")
    return [part for part in parts if isinstance(part, str)]


def _parts_of(content: Any) -> list[str | FunctionCall | FunctionResponse]:
    """What a content's parts say; a single part may stand without a list."""
    parts = content.get("parts") if isinstance(content, dict) else None
    if parts is None:
        raise Wrong("parts are missing; give a list of parts with text.")
    return each(_part_of, [parts] if isinstance(parts, dict) else parts, "parts")


def _part_of(part: Any) -> str | FunctionCall | FunctionResponse:
    if not isinstance(part, dict):
        raise Wrong(f"a part must be an object with text; {kind(part)} was given.")
    given = {camel(name): value for name, value in part.items() if value is not None}
    for name, read in (("functionCall", read_call), ("functionResponse", read_response)):
        if name in given and len(given) == 1:
            try:
                return read(given[name])
            except Wrong as wrong:
                raise wrong.below(name) from wrong
    if len(part) > 1 or "text" not in part:
        _refuse_untrained(part)
    return _text_in(part, "text")


def _refuse_untrained(part: Mapping[str, Any]) -> None:
    """Refuse what a part says beside its text, and would be lost."""
    for name, value in part.items():
        if name == "text" or value is None:
            continue
        untrained = _UNTRAINED_PARTS.get(camel(name))
        if camel(name) in ("functionCall", "functionResponse"):
            raise Wrong("a part has nothing else beside it; give it a part of its own.", camel(name))
        if untrained is None:
            raise Wrong(f"unknown field {quoted(name)}; a part has text.")
        if value is not False:
            raise Wrong(
                f"{untrained} was given, and this base model is tuned on text only; leave out the row, or write what "
                "it says as text.",
                camel(name),
            )


def _row_of_messages(fields: Mapping[str, Any]) -> Row | CallingRow:
    if others := {name for name, value in fields.items() if value is not None} - {"messages"}:
        raise Wrong(f"Unknown field {quoted(min(others))}; a row of messages has nothing beside them.")
    said = each(_message_of, fields["messages"], "messages")
    system = next((text for speaker, _, text in said[:1] if speaker is None), None)
    first = 0 if system is None else 1
    entries: list[_Entry] = []
    for index, (speaker, weight, text) in enumerate(said[first:], start=first):
        if speaker is None:
            raise Wrong("must be user or model; only the first message may be system.", f"messages[{index}].role")
        entries.append(_Entry(speaker, weight, text))
    return _row(entries, system or None, "messages", first)


def _message_of(message: Any) -> tuple[Speaker | None, Literal[0, 1], str]:
    """One message: whose it is, its weight, and its text. Whose it is None: it is a system message."""
    if not isinstance(message, dict):
        raise Wrong(f"a message must be an object with role and content; {kind(message)} was given.")
    if unknown := {name for name, value in message.items() if value is not None} - _MESSAGE_FIELDS:
        raise Wrong(f"unknown field {quoted(min(unknown))}; it may have role, content and weight.")
    role = message.get("role")
    is_system = isinstance(role, str) and role.lower() == "system"
    speaker = None if is_system else _speaker_of(message, _MESSAGE_SPEAKERS)
    return speaker, _weight_of(message), _text_in(message, "content")


def _text_in(holder: Mapping[str, Any], name: str) -> str:
    text = holder.get(name)
    if not isinstance(text, str):
        raise Wrong(f"a text is wanted; {kind(text)} was given.", name)
    if refusal := refusal_of(text):
        raise Wrong(f"{refusal}.", name)
    return text


def _speaker_of(entry: Mapping[str, Any], allowed: Mapping[str, Speaker]) -> Speaker:
    role = entry.get("role")
    found = allowed.get(role.lower()) if isinstance(role, str) else None
    if found is None:
        given = "none" if role is None else quoted(role) if isinstance(role, str) else kind(role)
        second = "function" if allowed is _RESPONDING_SPEAKERS else "model"
        raise Wrong(f"must be user or {second}; {given} was given.", "role")
    return found


def _weight_of(entry: Mapping[str, Any]) -> Literal[0, 1]:
    weight = entry.get("weight")
    if weight is None:
        return 1
    if isinstance(weight, bool) or weight not in (0, 1, "0", "1"):
        raise Wrong("must be 0 or 1.", "weight")
    return 1 if int(weight) else 0


def _row(
    entries: list[_Entry], system: str | None, name: str, first: int = 0, tools: tuple[Mapping[str, Any], ...] = ()
) -> Row | CallingRow:
    """The row of these entries, in which `first` is the place of the first one in the list called `name`.

    Raises:
        Wrong: a model cannot learn from them in this order.

    """
    if not entries:
        raise Wrong("at least a turn of the user and a turn of the model are required.", name)
    if entries[0].speaker is not Speaker.USER:
        raise Wrong("the first turn must be the user's.", f"{name}[{first}].role")
    if entries[-1].speaker is not Speaker.MODEL:
        raise Wrong("the last turn must be the model's.", f"{name}[{first + len(entries) - 1}].role")
    learned = [index for index, entry in enumerate(entries) if entry.speaker is Speaker.MODEL and entry.weight]
    if not learned:
        raise Wrong("every turn of the model has weight 0, so nothing is learned from this row.", name)
    if empty := [index for index in learned if not entries[index].text and entries[index].is_text]:
        raise Wrong("a turn of the model that is learned must not be empty.", f"{name}[{first + empty[0]}]")
    if not tools and all(entry.is_text for entry in entries):
        turns = tuple(Turn(turn.speaker, (turn.text,), turn.weight) for turn in _turns(entries))
        return Row(example=Conversation(turns=turns, system_instruction=system), messages=len(entries))
    _check_calls(entries, name)
    calling = CallingConversation(turns=_turns(entries), system_instruction=system, functions=tools)
    return CallingRow(conversation=calling, messages=len(entries))


def _check_calls(entries: list[_Entry], name: str) -> None:
    """Refuse responses without calls before them, and calls that nothing answers though the row goes on."""
    called: list[str] = []
    for index, entry in enumerate(entries):
        place = f"{name}[{index}]"
        if entry.responses:
            for response in entry.responses:
                if response.name not in called:
                    raise Wrong(f"no function {quoted(response.name)} was called before that still waits.", place)
                called.remove(response.name)
        elif called:
            raise Wrong(f"the response of the function {quoted(called[0])} must come before.", place)
        called += [call.name for call in entry.calls]


def _turns(entries: list[_Entry]) -> tuple[CallingTurn, ...]:
    """The turns of these entries, of which neighbours of one speaker and weight are one turn.

    Calls and responses end a text: what follows them is another turn.
    """
    turns: list[CallingTurn] = []
    for entry in entries:
        # The weight of a user's turn means nothing.
        weight = entry.weight if entry.speaker is Speaker.MODEL else 1
        turn = CallingTurn(entry.speaker, entry.text, entry.calls, entry.responses, weight)
        before = turns[-1] if turns else None
        if before is None or (before.speaker, before.weight) != (turn.speaker, turn.weight):
            turns.append(turn)
        elif before.is_text and not turn.responses:
            # A turn of calls alone has no text to join.
            text = f"{before.text}\n{turn.text}" if turn.text or not turn.calls else before.text
            turns[-1] = replace(turn, text=text)
        elif before.responses and turn.responses:
            turns[-1] = replace(turn, responses=(*before.responses, *turn.responses))
        else:
            turns.append(turn)
    return tuple(turns)
