"""Texts as terminals and streams of any encoding can show them."""

import codecs
import io
import unicodedata

_DIRECTIONS = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}

_IN_ASCII = str.maketrans(
    {
        **dict.fromkeys("─━╴╶╸╺", "-"),
        **dict.fromkeys("│┤├┃", "|"),
        **dict.fromkeys("└┘┌┐┴┬┼", "+"),
        **dict.fromkeys("·•✓", "*"),
        **dict.fromkeys("✗", "x"),
        **dict.fromkeys("⏎", "$"),
        "…": "...",
        "→": "->",
        # The blank character of the braille block, and all others, of which curves and spinners are made.
        "\u2800": " ",
        **{chr(dots): "*" for dots in range(0x2801, 0x2900)},
    }
)
"""The characters that this program draws with, as ASCII. Curves keep their width."""

_SUBSTITUTION = "tuningfork-ascii"


def harmless(text: str, keep: str = "") -> str:
    """The text with `<U+001B>` and the like for what would move the cursor, change colours or turn the writing.

    Args:
        text: any, such as a display name that somebody else chose.
        keep: control characters that are wanted here, such as line breaks.

    """
    return "".join(f"<U+{ord(each):04X}>" if each not in keep and _disturbs(each) else each for each in text)


def write_any_text(stream: object) -> None:
    """Let a stream write texts with characters that its encoding lacks, which would be errors.

    The characters of bars, tables and curves are written as similar ones of ASCII, others by their number. Where the
    operator chose another way (`PYTHONIOENCODING=ascii:replace`), it stays.
    """
    if isinstance(stream, io.TextIOWrapper) and stream.errors in {"strict", "surrogateescape", "backslashreplace"}:
        stream.reconfigure(errors=_SUBSTITUTION)


def escaped(text: str, encoding: str) -> str:
    """The text with a backslash, u and a number for every character that the encoding lacks, as in Python."""
    return text.encode(encoding, "backslashreplace").decode(encoding)


def _disturbs(character: str) -> bool:
    # Half a surrogate pair cannot be written at all.
    is_control = unicodedata.category(character) in {"Cc", "Cs"}
    return is_control or unicodedata.bidirectional(character) in _DIRECTIONS


def _substituted(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    missing = error.object[error.start : error.end]
    return escaped(missing.translate(_IN_ASCII), "ascii"), error.end


codecs.register_error(_SUBSTITUTION, _substituted)
