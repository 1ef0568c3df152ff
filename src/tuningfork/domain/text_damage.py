"""Signs that a text was damaged on its way: read in a wrong encoding, or a formula of a spreadsheet in its place."""

import re

_MOJIBAKE = re.compile(
    "[\u00c2-\u00f4]"
    "[\u0080-\u00bf\u0152\u0153\u0160\u0161\u0178\u017d\u017e\u0192\u02c6\u02dc\u2013-\u203a\u20ac\u2122]"
)
"""The first byte of a character in UTF-8 and one that follows it, each read as a character of Windows-1252 or Latin-1
(the Encoding Standard's index of windows-1252)."""
_LOST = "\ufffd"
_FORMULA = re.compile(r"=\s*[A-Z][A-Z0-9.]*\(|#(REF|N/A|NAME\?|VALUE|DIV/0|NUM|NULL)!?", re.IGNORECASE)
_LEAST_CHARACTERS = 2


def is_damaged(text: str) -> bool:
    """Whether characters were lost, or UTF-8 was read as another encoding."""
    return _LOST in text or repaired(text) != text


def repaired(text: str) -> str:
    """The text as it was before UTF-8 was read as Windows-1252 or Latin-1; unchanged where that cannot be.

    A text is changed only if all of it becomes valid UTF-8, which text that was never damaged hardly ever does.
    """
    if len(text) < _LEAST_CHARACTERS or _MOJIBAKE.search(text) is None:
        return text
    for encoding in ("cp1252", "latin-1"):
        try:
            return text.encode(encoding).decode("utf-8")
        except UnicodeError:
            continue
    return text


def is_formula(text: str) -> bool:
    """Whether a cell has a formula or an error of a spreadsheet in place of its value."""
    return text[:1] in "=#" and _FORMULA.match(text) is not None
