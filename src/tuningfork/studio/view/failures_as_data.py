"""Rows of an evaluation as lines of a file that the API reads as training examples."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

Json = Mapping[str, Any]


def lines_of(rows: Iterable[Json]) -> bytes:
    """A line of JSON for each row: pairs, or conversations if any row has more than a question."""
    found = list(rows)
    as_chats = any(row.get("systemInstruction") or row.get("earlierTurns") for row in found)
    return b"".join(json.dumps(_chat(row) if as_chats else _pair(row)).encode() + b"\n" for row in found)


def _pair(row: Json) -> Json:
    return {"text_input": row.get("input", ""), "output": row.get("expected", "")}


def _chat(row: Json) -> Json:
    roles = {"model": "assistant"}
    system = [{"role": "system", "content": row["systemInstruction"]}] if row.get("systemInstruction") else []
    turns = [
        {"role": roles.get(turn["role"], turn["role"]), "content": turn.get("text", "")}
        for turn in row.get("earlierTurns", ())
    ]
    asked = [
        {"role": "user", "content": row.get("input", "")},
        {"role": "assistant", "content": row.get("expected", "")},
    ]
    return {"messages": [*system, *turns, *asked]}
