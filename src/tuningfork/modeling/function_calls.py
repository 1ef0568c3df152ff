"""Turns a conversation with function calls into one of texts alone, which the base's chat template writes the same way.

Templates that know functions write the declarations into the system instruction, a call behind what the model says, and
a response into a turn of the user, between markers of their own. So the texts of the turns can be read off what the
template writes of the whole conversation: they stand between the same pieces as the texts of any conversation. What is
found is rendered again, and taken only if the template then writes exactly the same. A template that writes calls in
another way, with control tokens or in turns of a further role, is said to have none.
"""

import json
from collections.abc import Sequence
from functools import cached_property

from tuningfork.domain.conversation import Conversation, Speaker, Turn
from tuningfork.domain.errors import InvalidArgument
from tuningfork.domain.function_calls import CallingConversation, CallingTurn, FunctionCall, FunctionResponse, Json
from tuningfork.modeling.chat_template import TEMPLATE_FAULTS, ChatFormat, Message

_SAMPLE = CallingConversation(
    turns=(
        CallingTurn(Speaker.USER, "question"),
        CallingTurn(Speaker.MODEL, calls=(FunctionCall("tune_fork", {"pitch": "high"}),)),
        CallingTurn(Speaker.USER, responses=(FunctionResponse("tune_fork", {"heard": "ringing"}),)),
        CallingTurn(Speaker.MODEL, "answer"),
    ),
    functions=({"name": "tune_fork", "description": "tunes", "parameters": {"type": "object", "properties": {}}},),
)
_SAMPLE_WORDS = ("tunes", "tune_fork", "pitch", "high", "ringing")
"""What a template that knows functions writes of the sample."""


class FunctionCallTexts:
    """Writes function calls as the chat template of one base does.

    Args:
        chat: how the base writes conversations.

    """

    def __init__(self, chat: ChatFormat) -> None:
        self._chat = chat

    def in_texts(self, calling: CallingConversation) -> Conversation:
        """The same conversation in texts alone, with calls, responses and declarations as the template writes them.

        Raises:
            InvalidArgument: the template has no function calls, or does not take these turns.

        """
        if not self._is_known:
            raise InvalidArgument(
                "The row has function calls or declarations of functions, and the chat template of this base model "
                "writes none that can be trained on; leave out the row, or write what they say as text."
            )
        found = self._found(calling)
        if found is None:
            raise InvalidArgument(
                "The chat template of this base model does not write these function calls in turns of the user and the "
                "model; leave out the row, or write what they say as text."
            )
        return found

    @cached_property
    def _is_known(self) -> bool:
        """Whether the template writes all of a sample with a call."""
        found = self._found(_SAMPLE)
        if found is None or found.system_instruction is None:
            return False
        said = "\n".join((found.system_instruction, *(turn.text for turn in found.turns)))
        return all(word in said for word in _SAMPLE_WORDS)

    def _found(self, calling: CallingConversation) -> Conversation | None:
        """The conversation of texts that is rendered as this one; None: there is none."""
        chat = self._chat
        has_system = calling.system_instruction is not None or bool(calling.functions)
        try:
            whole = chat.rendered(self._messages(calling), speak=False, tools=_tools(calling.functions, chat) or None)
            marks = [f"place {number} of a text" for number in range(len(calling.turns) + has_system)]
            turns = marks[1:] if has_system else marks
            marked = Conversation(
                turns=tuple(Turn.said(turn.speaker, mark) for turn, mark in zip(calling.turns, turns, strict=True)),
                system_instruction=marks[0] if has_system else None,
            )
            texts = _between(chat.rendered(chat.messages_of(marked), speak=False), marks, whole)
            if texts is None:
                return None
            said = [chat.unquote(text) for text in texts]
            conversation = Conversation(
                turns=tuple(
                    Turn.said(turn.speaker, text, turn.weight)
                    for turn, text in zip(calling.turns, said[has_system:], strict=True)
                ),
                system_instruction=said[0] if has_system else None,
            )
            again = chat.rendered(chat.messages_of(conversation), speak=False)
        except TEMPLATE_FAULTS:
            return None
        return conversation if again == whole else None

    def _messages(self, calling: CallingConversation) -> list[Message]:
        """The messages as chat templates expect them (transformers' documentation, "Tool use")."""
        quote = self._chat.quote
        messages: list[Message] = []
        if calling.system_instruction is not None:
            messages.append({"role": "system", "content": quote(calling.system_instruction)})
        count = 0
        for turn in calling.turns:
            if turn.responses:
                first = count - len(turn.responses)
                messages += [
                    {
                        "role": "tool",
                        "name": quote(each.name),
                        "tool_call_id": _id(first + place),
                        "content": quote(json.dumps(each.response, ensure_ascii=False)),
                    }
                    for place, each in enumerate(turn.responses)
                ]
                continue
            role = "user" if turn.speaker is Speaker.USER else "assistant"
            message: Message = {"role": role, "content": quote(turn.text)}
            if turn.calls:
                message["tool_calls"] = [
                    {"id": _id(count + place), "type": "function", "function": _call(each, self._chat)}
                    for place, each in enumerate(turn.calls)
                ]
                count += len(turn.calls)
            messages.append(message)
        return messages


def _between(written: str, marks: Sequence[str], whole: str) -> list[str] | None:
    """What stands in `whole` where the marks stand in `written`; None if the pieces around them are others.

    A piece is looked for from the end of the one before it. Texts cannot have the names of control tokens, which pieces
    have almost always; where a text has a piece of words, the places that are found are wrong, and the caller sees it.
    """
    pieces, rest = list[str](), written
    for mark in marks:
        before, found, rest = rest.partition(mark)
        if not found or mark in rest:
            return None
        pieces.append(before)
    if not whole.startswith(pieces[0]) or not whole.endswith(rest):
        return None
    texts, place, end = list[str](), len(pieces[0]), len(whole) - len(rest)
    for piece in pieces[1:]:
        found_at = whole.find(piece, place, end)
        if found_at < 0 or not piece:
            return None
        texts.append(whole[place:found_at])
        place = found_at + len(piece)
    return [*texts, whole[place:end]] if place <= end else None


def _tools(functions: Sequence[Json], chat: ChatFormat) -> list[Json]:
    return [{"type": "function", "function": _quoted(function, chat)} for function in functions]


def _call(call: FunctionCall, chat: ChatFormat) -> Json:
    return {"name": chat.quote(call.name), "arguments": _quoted(call.arguments, chat)}


def _quoted(value: object, chat: ChatFormat) -> object:
    """A value of JSON with all its texts quoted."""
    match value:
        case str():
            return chat.quote(value)
        case dict():
            return {chat.quote(name): _quoted(inner, chat) for name, inner in value.items()}
        case list():
            return [_quoted(inner, chat) for inner in value]
    return value


def _id(number: int) -> str:
    # Nine letters and digits, which is what Mistral's templates insist on.
    return f"call{number % 100_000:05d}"
