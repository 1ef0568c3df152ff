"""The format of the Gemini API and of Vertex AI's tuning: `contents` of parts, and a `systemInstruction`."""

from collections.abc import Mapping

from tuningfork.domain.conversation import Conversation
from tuningfork.training_files.conversations.form import Fields, Form, is_list_of_objects
from tuningfork.training_files.conversations.turns import Said, conversation, messages, system_text

_SYSTEM = ("systemInstruction", "system_instruction")


def _fits(record: Fields) -> bool:
    entries = record.get("contents")
    return is_list_of_objects(entries) and "parts" in entries[0]


def _read(record: Fields) -> Conversation:
    said = messages(record["contents"], roles=("role",), texts=("parts",))
    return conversation([*system_instruction(record), *said])


def system_instruction(record: Fields) -> list[Said]:
    """The system instruction of a record, which may be a content or a bare text; [] if there is none.

    Raises:
        Wrong: it is more than text.

    """
    content = next((record[name] for name in _SYSTEM if name in record), None)
    if isinstance(content, Mapping):
        content = content.get("parts", content.get("text"))
    return system_text(content)


FORM = Form("contents", _fits, _read)
