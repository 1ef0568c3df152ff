"""OpenAI's chat format, `{"messages": [{"role": "user", "content": "..."}, ...]}`, and what is written like it.

That is Anthropic's, with a `system` text beside the messages, and PaLM's, with `author` for the role and a `context`.
"""

from tuningfork.domain.conversation import Conversation
from tuningfork.training_files.conversations.form import Fields, Form, is_list_of_objects
from tuningfork.training_files.conversations.turns import conversation, messages, system_text

_ROLES, _TEXTS = ("role", "author"), ("content", "text")
_SYSTEM = ("system", "context")


def _fits(record: Fields) -> bool:
    entries = record.get("messages")
    return is_list_of_objects(entries) and any(name in entries[0] for name in _ROLES)


def _read(record: Fields) -> Conversation:
    before = [said for name in _SYSTEM for said in system_text(record.get(name))]
    return conversation([*before, *messages(record["messages"], roles=_ROLES, texts=_TEXTS)])


FORM = Form("messages", _fits, _read)
