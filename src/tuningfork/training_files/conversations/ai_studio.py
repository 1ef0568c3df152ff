"""A prompt as Google AI Studio saves it to Drive: one conversation, in `chunkedPrompt.chunks`.

What the model thought (`isThought`) is no part of its answer and is left out, and so is an unsent draft
(`pendingInputs`).
"""

from collections.abc import Mapping

from tuningfork.domain.conversation import Conversation
from tuningfork.training_files.conversations.form import Fields, Form, is_list_of_objects
from tuningfork.training_files.conversations.gemini import system_instruction
from tuningfork.training_files.conversations.turns import conversation, messages


def _fits(record: Fields) -> bool:
    prompt = record.get("chunkedPrompt")
    return isinstance(prompt, Mapping) and is_list_of_objects(prompt.get("chunks"))


def _read(record: Fields) -> Conversation:
    chunks = [chunk for chunk in record["chunkedPrompt"]["chunks"] if not chunk.get("isThought")]
    return conversation([*system_instruction(record), *messages(chunks, roles=("role",), texts=("text", "parts"))])


FORM = Form("chunkedPrompt", _fits, _read)
