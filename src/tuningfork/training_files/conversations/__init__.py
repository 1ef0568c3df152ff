"""Records that hold a whole conversation, in the formats in which people keep them.

Offers `form_of`, which recognises the format of a record; refuses to know files, which may hold such records in a list,
one a line, or alone. Each format is a module of its own; what a turn must be is said in `turns`.
"""

from collections.abc import Mapping
from typing import Any

from tuningfork.training_files.conversations import ai_studio, alpaca, gemini, openai, sharegpt
from tuningfork.training_files.conversations.form import Form
from tuningfork.training_files.conversations.turns import Wrong

FORMS = (openai.FORM, gemini.FORM, sharegpt.FORM, ai_studio.FORM, alpaca.FORM)


def form_of(record: object) -> Form | None:
    """The format of a record; None if it is no conversation."""
    if not isinstance(record, Mapping):
        return None
    fields: Mapping[str, Any] = record
    return next((form for form in FORMS if form.fits(fields)), None)


__all__ = ["FORMS", "Form", "Wrong", "form_of"]
