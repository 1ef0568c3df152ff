"""Bytes to text: UTF-8, or UTF-16 with and without its mark; anything else is named, never guessed."""

import codecs
import re

from tuningfork.training_files.faults import Fault
from tuningfork.training_files.table import Unreadable

_SAVE_AS = "Save the file as UTF-8."
_LOOKED_AT_BYTES = 4_000
_CONTROL = re.compile("[\0-\x08\x0e-\x1f]")


def decode(content: bytes) -> str:
    """The text of a file, without its byte-order mark, which is no part of the first column's name.

    Raises:
        Unreadable: it is neither UTF-8 nor UTF-16; says what it seems to be.

    """
    if content.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        raise Unreadable(Fault(problem="UTF-32 text, which is not read.", advice=_SAVE_AS))
    wide = wide_encoding(content)
    try:
        return content.decode(wide or "utf-8-sig")
    except UnicodeDecodeError as error:
        if wide:
            raise Unreadable(
                Fault(problem=f"not UTF-16 text: byte {error.start} is wrong.", advice=_SAVE_AS)
            ) from error
        line = content.count(b"\n", 0, error.start) + 1
        raise Unreadable(
            Fault(
                place=f"line {line}",
                problem=f"not UTF-8 text: the byte 0x{content[error.start]:02X} is wrong there.",
                advice=_SAVE_AS,
            )
        ) from error


def wide_encoding(content: bytes) -> str:
    """The name of the UTF-16 encoding that a text has; "" if it has none.

    Without a byte-order mark it shows by zero bytes: each line break, separator and European letter has one, always on
    the same side. A few of them are enough where the text that they make has lines and nothing strange in it.
    """
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    begin = content[:_LOOKED_AT_BYTES]
    high, low = begin[0::2].count(0), begin[1::2].count(0)
    most, least, characters = max(high, low), min(high, low), len(begin) // 2
    if characters < 2 or len(content) % 2 or not most or least * 20 > most:
        return ""
    encoding = "utf-16-be" if high > low else "utf-16-le"
    return encoding if most * 4 >= characters or _makes_lines(begin, encoding) else ""


def _makes_lines(begin: bytes, encoding: str) -> bool:
    text = begin.decode(encoding, "replace")
    return "\n" in text and "\ufffd" not in text[:-1] and _CONTROL.search(text) is None
