"""What counts as text: anything Unicode, except for halves of characters."""


def refusal_of(text: str) -> str | None:
    r"""Why this is not text, as the end of a sentence that begins with its name; None if it is.

    JSON can spell a lone surrogate (`"\ud800"`), which no UTF-8 file, database or tokenizer can hold.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        found = f"U+{ord(text[error.start]):04X}"
        return f"must be valid Unicode text; its character {error.start} is the lone surrogate {found}"
    return None
