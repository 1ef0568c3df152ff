"""Texts of others as a terminal may show them: every character that would disturb it is shown by its number."""

import unicodedata

_DIRECTIONS = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}


def harmless(text: str, keep: str = "") -> str:
    """The text with `<U+001B>` and the like for what would move the cursor, change colours or turn the writing.

    Args:
        text: any, such as a display name that somebody else chose.
        keep: control characters that are wanted here, such as line breaks.

    """
    return "".join(f"<U+{ord(each):04X}>" if each not in keep and _disturbs(each) else each for each in text)


def _disturbs(character: str) -> bool:
    is_control = unicodedata.category(character) == "Cc"
    return is_control or unicodedata.bidirectional(character) in _DIRECTIONS
