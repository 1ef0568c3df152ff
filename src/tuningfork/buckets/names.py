"""Which names buckets and objects can have: those that are safe as names of directories and files."""

import re

from tuningfork.buckets.errors import InvalidName, shown

RESERVED = ".tuningfork"
"""What names of the server's own files in a bucket's directory begin with."""

MOST_KEY_BYTES = 1024
_MOST_SEGMENT_BYTES = 255

_BUCKET = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,220}[a-z0-9])?")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def check_bucket(name: str) -> str:
    """The name of a bucket.

    Raises:
        InvalidName: it is none.

    """
    if _BUCKET.fullmatch(name) is None or ".." in name:
        raise InvalidName(
            f"Invalid bucket name: {shown(name)}. It has 1 to 222 lower-case letters, digits, dashes, underscores and "
            "dots, and begins and ends with a letter or a digit."
        )
    return name


def segments_of(key: str) -> tuple[str, ...]:
    """The names of the directories and of the file that hold an object.

    Raises:
        InvalidName: an object cannot have this key: a segment is empty, `.` or `..`, or no file can be named like it.

    """
    if not key:
        raise InvalidName("An object's name must not be empty.")
    try:
        size = len(key.encode())
    except UnicodeEncodeError as error:
        raise InvalidName(f"Invalid object name: {shown(key)}. It must be valid Unicode.") from error
    if size > MOST_KEY_BYTES:
        raise InvalidName(f"Invalid object name: {shown(key)}. It has {size} bytes; {MOST_KEY_BYTES} is the most.")
    segments = tuple(key.split("/"))
    for segment in segments:
        if (reason := _fault(segment)) is not None:
            raise InvalidName(f"Invalid object name: {shown(key)}. {reason}")
    return segments


def _fault(segment: str) -> str | None:
    """What is wrong with a part of a name between slashes; None: nothing."""
    if segment in ("", ".", ".."):
        return "Parts between slashes must not be empty, '.' or '..'; this server keeps objects as files."
    if _CONTROL.search(segment):
        return "It must not have control characters."
    if segment.startswith(RESERVED):
        return f"Parts between slashes must not begin with {RESERVED!r}."
    if len(segment.encode()) > _MOST_SEGMENT_BYTES:
        return f"Parts between slashes have at most {_MOST_SEGMENT_BYTES} bytes; this server keeps objects as files."
    return None
