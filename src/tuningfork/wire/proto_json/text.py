"""JSON text to values and back: bytes of a request in, bytes of an answer out."""

import json
import math
import re
from typing import Any

from tuningfork.domain.errors import InvalidArgument
from tuningfork.wire.proto_json.lenient import MAX_DEPTH, LenientParser, malformed, object_of, parse_number

MAX_PAYLOAD_BYTES = 8 * 1024 * 1024
"""The largest request body. Google's own clients stop at training files of 4 MB."""

_quoted = json.encoder.encode_basestring

_SURROGATE_ESCAPE = re.compile(r"\\u[dD][89a-fA-F]")

# Some clients split a stream at every character that Unicode calls a line end, also inside a JSON string
# (Python's str.splitlines, and httpx with it). C0 controls are escaped by JSON itself.
_LINE_ENDS = str.maketrans({"\x85": "\\u0085", "\u2028": "\\u2028", "\u2029": "\\u2029"})


def read(body: bytes) -> Any:
    """The value of a request body, or of nothing an empty object.

    Standard JSON goes through the C parser of the standard library; whatever that one refuses, and the few things
    that it should refuse, goes through the lenient parser, whose word is final. Both give the same value for the
    same standard text.

    Raises:
        InvalidArgument: too large, not UTF-8, or no JSON even with a forgiving eye.

    """
    if len(body) > MAX_PAYLOAD_BYTES:
        raise payload_too_large()
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise malformed(
            f"Encountered non UTF-8 code points: byte {error.start} is 0x{body[error.start]:02x}. Send UTF-8."
        ) from error
    if not text.strip(" \t\n\r"):
        return {}
    try:
        value = json.loads(
            text,
            strict=False,  # raw control characters are allowed in strings
            object_pairs_hook=object_of,
            parse_int=parse_number,
            parse_float=parse_number,
            parse_constant=_refuse_constant,
        )
    except (ValueError, RecursionError):
        return LenientParser(text).document()
    if not _is_shallow(value) or (_SURROGATE_ESCAPE.search(text) and not _is_encodable(value)):
        return LenientParser(text).document()
    return value


def write(value: Any, *, pretty: bool = True) -> str:
    """The text of an answer: two spaces of indentation and one field a line, or everything on one line.

    No newline at the end: a stream of objects must not have one.
    """
    if pretty:
        text = _pretty(value, "\n")
    else:
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text if text.isascii() else text.translate(_LINE_ENDS)


def _pretty(value: Any, line: str) -> str:
    """An indented value, as `json.dumps` gives it with `indent=2`; its own indenting encoder takes twice as long.

    `line` begins a line at the value's depth.
    """
    if isinstance(value, str):
        return _quoted(value)
    deeper = f"{line}  "
    if isinstance(value, dict) and value:
        members = [f"{_quoted(name)}: {_pretty(member, deeper)}" for name, member in value.items()]
        return f"{{{deeper}{f',{deeper}'.join(members)}{line}}}"
    if isinstance(value, (list, tuple)) and value:
        return f"[{deeper}{f',{deeper}'.join([_pretty(item, deeper) for item in value])}{line}]"
    if type(value) is int or (type(value) is float and math.isfinite(value)):
        return repr(value)
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def payload_too_large() -> InvalidArgument:
    """The error of a body over the limit."""
    return InvalidArgument(
        f"Request payload size exceeds the limit: {MAX_PAYLOAD_BYTES} bytes. Send shorter texts, or fewer examples."
    )


def _refuse_constant(name: str) -> Any:
    # json.loads would take NaN and Infinity without quotes.
    raise ValueError(name)


def _is_shallow(value: Any) -> bool:
    """Whether no container lies deeper than the limit; breadth first, so that the check itself cannot overflow."""
    level = [value] if isinstance(value, (dict, list)) else []
    for _ in range(MAX_DEPTH):
        level = [
            child
            for container in level
            for child in (container.values() if isinstance(container, dict) else container)
            if isinstance(child, (dict, list))
        ]
    return not level


def _is_encodable(value: Any) -> bool:
    """Whether every string is made of whole characters: half a surrogate pair cannot be stored or sent."""
    waiting = [value]
    try:
        while waiting:
            match waiting.pop():
                case str(text):
                    text.encode()
                case dict(members):
                    waiting.extend(members.keys())
                    waiting.extend(members.values())
                case list(items):
                    waiting.extend(items)
    except UnicodeEncodeError:
        return False
    return True
