"""Checks that a string is valid Unicode, without halves of surrogate pairs."""


def refusal_of(text: str) -> str | None:
    r"""Why this is not valid text, as the end of a sentence that begins with the field's name; None if it is valid.

    JSON can express a lone surrogate (`"\ud800"`), which UTF-8 files, databases and tokenizers cannot.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        found = f"U+{ord(text[error.start]):04X}"
        return f"must be valid Unicode text; its character {error.start} is the lone surrogate {found}"
    return None
