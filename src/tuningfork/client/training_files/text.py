"""Bytes to text: UTF-8, or UTF-16 that says so; anything else is named, never guessed."""

import codecs

from tuningfork.client.errors import Fault
from tuningfork.client.training_files.table import Unreadable

_SAVE_AS = "Save the file as UTF-8."
_LOOKED_AT_BYTES = 1_000


def decode(content: bytes) -> str:
    """The text of a file, without its byte-order mark, which is no part of the first column's name.

    Raises:
        Unreadable: it is not UTF-8, and no UTF-16 with a byte-order mark; says what it seems to be.

    """
    if content.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        raise Unreadable(Fault(problem="UTF-32 text, which is not read.", advice=_SAVE_AS))
    wide = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    if not wide and _seems_wide(content):
        problem = "seems to be UTF-16 text without a byte-order mark, which is not read."
        raise Unreadable(Fault(problem=problem, advice=_SAVE_AS))
    try:
        return content.decode("utf-16" if wide else "utf-8-sig")
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


def _seems_wide(content: bytes) -> bool:
    """Whether every other byte of the beginning is mostly zero, as in UTF-16 of European languages."""
    begin = content[:_LOOKED_AT_BYTES]
    half = len(begin) // 2
    return half > 1 and any(begin[start::2].count(0) > half // 2 for start in (0, 1))
