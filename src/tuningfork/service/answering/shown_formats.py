"""Tells a model in words in which format it is to answer, beside what keeps its answer in this format.

A grammar keeps an answer in its format, but lets the model walk into it blindly. In the prompt the model reads which
values are wanted. What it reads is short: the names of properties, with their descriptions where the schema has any. A
whole schema, or the values that are allowed, led SmolLM2-135M-Instruct astray.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from tuningfork.domain.conversation import Conversation
from tuningfork.domain.generation import AnswerFormat, ChoiceAnswer

MOST_CHARACTERS = 2_000
"""Words that would be longer are left out, so that they do not crowd the prompt."""

_MOST_DEPTH = 3


def shown_to(prompt: Conversation, answer_format: AnswerFormat | None, *, is_tuned: bool) -> Conversation:
    """The prompt as the model is to read it: with words about the format at the end of its last turn.

    Args:
        prompt: what was asked; its last turn is the user's.
        answer_format: the format of the answer; None: any text, and the prompt stays as it is.
        is_tuned: whether a tuned model answers. It reads its prompts as it was trained on them.

    """
    if answer_format is None or is_tuned:
        return prompt
    words = in_words(answer_format)
    if not words or len(words) > MOST_CHARACTERS:
        return prompt
    *before, last = prompt.turns
    return replace(prompt, turns=(*before, replace(last, parts=(*last.parts, f"\n\n{words}"))))


def in_words(answer_format: AnswerFormat) -> str:
    """The format in one sentence."""
    if isinstance(answer_format, ChoiceAnswer):
        return f"Answer with one of these: {', '.join(answer_format.choices)}."
    schema = json.loads(answer_format.schema) if answer_format.schema is not None else {}
    schema = schema if isinstance(schema, dict) else {}
    of_items = schema.get("type") == "array" and isinstance(schema.get("items"), dict)
    names = ", ".join(_names(schema["items"] if of_items else schema, 1))
    described = _described("", schema).strip()
    about = f" {described}" if described else ""
    a_list = " as a list" if schema.get("type") == "array" else ""
    return f"Answer in JSON{a_list}{about}{f', with {names}' if names else ''}."


def _names(schema: Mapping[str, Any], depth: int) -> Iterator[str]:
    """The properties of a schema, in the order in which an answer has them, each with what is said of it."""
    properties = schema.get("properties")
    if not isinstance(properties, dict) or depth > _MOST_DEPTH:
        return
    order = schema.get("propertyOrdering")
    first = [name for name in order if isinstance(name, str) and name in properties] if isinstance(order, list) else []
    for name in dict.fromkeys([*first, *properties]):
        inner = properties[name] if isinstance(properties[name], dict) else {}
        items = inner.get("items")
        further = ", ".join(_names(items if isinstance(items, dict) else inner, depth + 1))
        yield _described(name, inner) + (f" with {further}" if further else "")


def _described(name: str, schema: Mapping[str, Any]) -> str:
    said = schema.get("description")
    return f"{name} ({said.strip().rstrip('.')})" if isinstance(said, str) and said.strip() else name
