"""What is said in a conversation: checked, joined and put together in one way for all formats."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from tuningfork.domain.conversation import Conversation, Speaker, Turn
from tuningfork.training_files.conversations.form import Fields, is_list
from tuningfork.training_files.examples import faults_of_text
from tuningfork.training_files.faults import Fault

SYSTEM = None
"""Says what stands before the conversation, in the place of a speaker."""

_ROLES: Mapping[str, Speaker | None] = {
    **dict.fromkeys(("user", "human", "customer", "prompter"), Speaker.USER),
    **dict.fromkeys(("model", "assistant", "gpt", "bot", "ai", "chatgpt", "bard", "bing"), Speaker.MODEL),
    **dict.fromkeys(("system", "developer"), SYSTEM),
}
_TEXT_PARTS = {"text", "input_text", "output_text"}


class Wrong(Exception):
    """A conversation that cannot be trained on; carries why."""

    def __init__(self, problem: str, advice: str = "") -> None:
        super().__init__(problem)
        self.fault = Fault(problem=problem, advice=advice)


@dataclass(frozen=True, slots=True)
class Said:
    """One message. `speaker` None is the system text; `where` is how a person finds it, such as "message 3"."""

    where: str
    speaker: Speaker | None
    text: str


def system_text(content: object) -> list[Said]:
    """A text that stands beside the messages, as what is said first; nothing if there is none.

    Raises:
        Wrong: it is more than text.

    """
    return [Said("the system text", SYSTEM, text_of("the system text", content))] if content else []


def conversation(said: Sequence[Said]) -> Conversation:
    """The conversation of these messages; neighbours of one speaker become one turn, as in a prompt to a model.

    Raises:
        Wrong: nothing can be learned from it, or something in it would be lost.

    """
    begins = next((index for index, each in enumerate(said) if each.speaker is not SYSTEM), len(said))
    for index, each in enumerate(said):
        _check(each, after_begin=index > begins)
    turns = [
        Turn.said(speaker, "\n".join(each.text for each in neighbours))
        for speaker, neighbours in groupby(said[begins:], key=lambda each: each.speaker)
        if speaker is not SYSTEM
    ]
    if not any(turn.is_learned for turn in turns):
        raise Wrong("nothing in it is said by the model, so nothing can be learned.", "Add the answer, or remove it.")
    if turns[0].speaker is Speaker.MODEL:
        raise Wrong(
            "it begins with the model's turn, and what is learned must follow a user's.",
            "Remove that turn, or put what the user said before it.",
        )
    system = "\n\n".join(each.text for each in said[:begins])
    return Conversation(turns=tuple(turns), system_instruction=system or None)


def _check(said: Said, *, after_begin: bool) -> None:
    if said.speaker is SYSTEM and after_begin:
        raise Wrong(
            f"{said.where}: a system text in the middle, and a model has one at the beginning only.",
            "Move it to the top, or make it part of a user's turn.",
        )
    if not said.text.strip() and said.speaker is not SYSTEM:
        raise Wrong(f"{said.where}: empty.", "Fill it, or remove the example.")
    for fault in faults_of_text(said.text):
        raise Wrong(f"{said.where}: {fault.problem}", fault.advice)


def messages(entries: object, *, roles: Sequence[str], texts: Sequence[str]) -> Iterable[Said]:
    """The messages of a list, each an object with a role and a text.

    Args:
        entries: the list.
        roles: the names under which the role may stand.
        texts: the names under which the text may stand.

    Raises:
        Wrong: an entry is no message, or not of a user, a model or the system.

    """
    if not is_list(entries):
        raise Wrong("its messages are no list.")
    for number, entry in enumerate(entries, start=1):
        where = f"message {number}"
        if not isinstance(entry, Mapping):
            raise Wrong(f"{where}: an object with a role and a text is wanted.")
        _refuse_unlearned(where, entry)
        speaker = _speaker(where, next((entry[name] for name in roles if name in entry), None))
        yield Said(where, speaker, text_of(where, next((entry[name] for name in texts if name in entry), None)))


def text_of(where: str, content: object) -> str:
    """The text of a message: a string, or parts that are nothing but texts.

    Raises:
        Wrong: there is none, or more than text.

    """
    if isinstance(content, str):
        return str(content)
    if content is None:
        raise Wrong(f"{where}: no text.", "Fill it, or remove the example.")
    parts = content if is_list(content) else [content]
    return "".join(_text_of_part(where, part) for part in parts)


def _speaker(where: str, role: object) -> Speaker | None:
    name = str(role).strip().lower()
    if name not in _ROLES:
        told = f"the role {name[:40]!r}" if role else "no role"
        raise Wrong(
            f"{where}: {told}; only what a user, a model and the system say is trained on.",
            "Remove the messages of tools and functions, or the example.",
        )
    return _ROLES[name]


def _text_of_part(where: str, part: Any) -> str:
    if isinstance(part, str):
        return str(part)
    if isinstance(part, Mapping) and isinstance(part.get("text"), str) and part.get("type", "text") in _TEXT_PARTS:
        return str(part["text"])
    kinds = [str(name) for name in part if name != "type"] if isinstance(part, Mapping) else []
    told = f"a part with {kinds[0][:40]!r}" if kinds else "a part without a text"
    raise Wrong(f"{where}: {told}; models are tuned on text only.", "Remove the example.")


def _refuse_unlearned(where: str, entry: Fields) -> None:
    """Refuse what a message says beside its text and would be lost."""
    if str(entry.get("weight", 1)) in {"0", "0.0"}:
        raise Wrong(
            f"{where}: weight 0, and every turn of the model is learned.",
            "Remove the weight to learn the turn, or end the example before it.",
        )
    if entry.get("tool_calls") or entry.get("function_call"):
        raise Wrong(f"{where}: it calls a tool, which is not trained on.", "Remove the example.")
