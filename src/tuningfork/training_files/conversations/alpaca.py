"""Alpaca's format with earlier turns: `instruction`, `input`, `output`, and a `history` of pairs.

Without a history its records are rows of columns like any others (`columns`).
"""

from collections.abc import Iterator

from tuningfork.domain.conversation import Conversation, Speaker
from tuningfork.training_files.conversations.form import Fields, Form, is_list
from tuningfork.training_files.conversations.turns import Said, Wrong, conversation, system_text, text_of


def _fits(record: Fields) -> bool:
    return is_list(record.get("history")) and "instruction" in record and "output" in record


def _read(record: Fields) -> Conversation:
    asked = [text_of(name, record.get(name) or "") for name in ("instruction", "input")]
    last = [
        Said("the instruction", Speaker.USER, "\n".join(filter(None, asked))),
        Said("the output", Speaker.MODEL, text_of("the output", record["output"])),
    ]
    return conversation([*system_text(record.get("system")), *_history(record["history"]), *last])


def _history(pairs: object) -> Iterator[Said]:
    for number, pair in enumerate(pairs if is_list(pairs) else (), start=1):
        where = f"history {number}"
        if not is_list(pair) or len(pair) != 2:
            raise Wrong(f"{where}: a pair of an instruction and an output is wanted.")
        yield Said(where, Speaker.USER, text_of(where, pair[0]))
        yield Said(where, Speaker.MODEL, text_of(where, pair[1]))


FORM = Form("history", _fits, _read)
