"""ShareGPT's format, `{"conversations": [{"from": "human", "value": "..."}, ...]}`, with `system` beside it or not."""

from tuningfork.domain.conversation import Conversation
from tuningfork.training_files.conversations.form import Fields, Form, is_list_of_objects
from tuningfork.training_files.conversations.turns import conversation, messages, system_text

_LISTS = ("conversations", "conversation")
_ROLES, _TEXTS = ("from", "role"), ("value", "content", "text")


def _fits(record: Fields) -> bool:
    return any(
        is_list_of_objects(entries := record.get(name)) and any(role in entries[0] for role in _ROLES)
        for name in _LISTS
    )


def _read(record: Fields) -> Conversation:
    entries = next(record[name] for name in _LISTS if name in record)
    return conversation([*system_text(record.get("system")), *messages(entries, roles=_ROLES, texts=_TEXTS)])


FORM = Form("conversations", _fits, _read)
