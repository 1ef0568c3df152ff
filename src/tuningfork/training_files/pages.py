"""Tells a page for people (HTML) from a file of examples, by its beginning."""

import re

_BEGINNING = re.compile(rb"<(?:!doctype\s+html|html|head|body)\b", re.IGNORECASE)
_LOOKED_AT_BYTES = 4_096
_COMMENT_BEGINS, _COMMENT_ENDS = b"<!--", b"-->"
_MARK = b"\xef\xbb\xbf"


def is_page(content: bytes) -> bool:
    """Whether a content is a page, behind any number of comments; takes no longer for more of them."""
    begin = content[:_LOOKED_AT_BYTES].removeprefix(_MARK).lstrip()
    while begin.startswith(_COMMENT_BEGINS):
        _, _, behind = begin.partition(_COMMENT_ENDS)
        begin = behind.lstrip()
    return _BEGINNING.match(begin) is not None
