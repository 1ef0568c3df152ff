"""`Content-Range` of uploads and `Range` of downloads (RFC 9110 section 14)."""

import re
from dataclasses import dataclass

from tuningfork.buckets.errors import RangeNotSatisfiable
from tuningfork.domain.errors import FieldViolation, InvalidArgument

_CONTENT_RANGE = re.compile(r"bytes\s+(?:(\d{1,18})-(\d{1,18}|\*)|\*)/(\d{1,18}|\*)", re.ASCII)
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class ContentRange:
    """Where the bytes of a body belong.

    `start` None: the body has no bytes, and its sender asks how many have arrived. `end` is the place of the last byte;
    None: all bytes to the body's end, which is the object's. `size` is the object's; None: not known yet.
    """

    start: int | None
    end: int | None
    size: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """The wanted bytes of an object: from the first to the last one, both within it."""

    first: int
    last: int

    @property
    def size(self) -> int:
        """How many bytes these are."""
        return self.last - self.first + 1


def parse_content_range(text: str) -> ContentRange:
    """The header of an upload, such as `bytes 0-99/100`, `bytes 0-*/*`, `bytes */100`.

    Raises:
        InvalidArgument: it is none of these.

    """
    found = _CONTENT_RANGE.fullmatch(text.strip())
    if found is None:
        raise _refused(text, "is not of the form bytes FIRST-LAST/SIZE, bytes FIRST-*/* or bytes */SIZE")
    start, end, size = (None if each in (None, "*") else int(each) for each in found.groups())
    if start is not None and end is not None and end < start:
        raise _refused(text, "ends before it begins")
    if size is not None and end is not None and end >= size:
        raise _refused(text, "ends after the object's end")
    return ContentRange(start=start, end=end, size=size)


def parse_range(text: str, size: int) -> Range | None:
    """The wanted bytes of an object of `size` bytes; None: all of them, also for a header that cannot be read.

    Raises:
        RangeNotSatisfiable: they begin after its end.

    """
    found = _RANGE.fullmatch(text.strip())
    if found is None or found.groups() == ("", ""):
        return None
    first, last = found.groups()
    if not first:
        if not size or not int(last):
            raise RangeNotSatisfiable(size)
        return Range(first=max(0, size - int(last)), last=size - 1)
    if last and int(last) < int(first):
        return None
    if int(first) >= size:
        raise RangeNotSatisfiable(size)
    return Range(first=int(first), last=min(int(last), size - 1) if last else size - 1)


def _refused(text: str, reason: str) -> InvalidArgument:
    sentence = f"Content-Range {text[:100]!r} {reason}."
    return InvalidArgument(sentence, violations=(FieldViolation(field="Content-Range", description=sentence),))
