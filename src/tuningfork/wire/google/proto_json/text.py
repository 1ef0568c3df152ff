"""Reads the bytes of a request as JSON values, and writes values as the text of an answer."""

import json
import math
import re
from typing import Any

from tuningfork.domain.errors import InvalidArgument
from tuningfork.wire.google.proto_json.encode import PrintedChunk, PrintedList
from tuningfork.wire.google.proto_json.lenient import MAX_DEPTH, LenientParser, malformed, object_of, parse_number

MAX_PAYLOAD_BYTES = 8 * 1024 * 1024
"""The largest request body, 8 MiB. Google's own clients send training files of at most 4 MB."""

_quoted = json.encoder.encode_basestring

_SURROGATE_ESCAPE = re.compile(r"\\u[dD][89a-fA-F]")

# Some clients split a stream at every line end of Unicode, even inside a JSON string (Python's str.splitlines, which
# httpx uses). So these characters are escaped; JSON itself escapes C0 controls.
_LINE_ENDS = str.maketrans({"\x85": "\\u0085", "\u2028": "\\u2028", "\u2029": "\\u2029"})


def read(body: bytes) -> Any:
    """The value of a request body; an empty object for an empty body.

    Standard JSON is parsed by the standard library's C parser. A text that this parser refuses, or accepts wrongly, is
    parsed by the lenient parser, which decides. Both parsers give the same value for standard JSON.

    Raises:
        InvalidArgument: the body is too large, not UTF-8, or refused by the lenient parser too.

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
    """The text of an answer, without a newline at its end, which a stream of objects must not have.

    `pretty`: one field on each line, indented by two spaces; otherwise everything on one line.
    """
    if pretty:
        text = _pretty(value, "\n")
    else:
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text if text.isascii() else text.translate(_LINE_ENDS)


def _pretty(value: Any, line: str) -> str:
    """A value as `json.dumps` writes it with `indent=2`, in half the time.

    `line` is the line break and indentation at the value's depth.
    """
    if isinstance(value, str):
        return _quoted(value)
    if isinstance(value, dict) and value:
        return _pretty_object(value, line)
    deeper = f"{line}  "
    if type(value) is PrintedList and value:
        return f"[{deeper}{f',{deeper}'.join([_pretty_chunk(chunk, deeper) for chunk in value.chunks])}{line}]"
    if isinstance(value, (list, tuple)) and value:
        return f"[{deeper}{f',{deeper}'.join([_pretty(item, deeper) for item in value])}{line}]"
    if type(value) is int or (type(value) is float and math.isfinite(value)):
        return repr(value)
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def _pretty_chunk(chunk: PrintedChunk, line: str) -> str:
    """The objects of a chunk, with commas between. The standard library's C encoder writes them, so it takes little."""
    text = chunk.texts.get(line)
    if text is None:
        encoder = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(f",{line}  ", ": "))
        within = encoder.encode(chunk.objects)[1:-1]
        text = within.replace("{", f"{{{line}  ").replace(f"}},{line}  ", f"}},{line}").replace("}", f"{line}}}")
        chunk.texts[line] = text
    return text


def _pretty_object(value: dict[str, Any], line: str) -> str:
    deeper = f"{line}  "
    members = [
        f"{_quoted(name)}: {_quoted(member) if type(member) is str else _pretty(member, deeper)}"
        for name, member in value.items()
    ]
    return f"{{{deeper}{f',{deeper}'.join(members)}{line}}}" if members else "{}"


def payload_too_large() -> InvalidArgument:
    """The error of a body over the limit."""
    return InvalidArgument(
        f"Request payload size exceeds the limit: {MAX_PAYLOAD_BYTES} bytes. Send shorter texts, or fewer examples."
    )


def _refuse_constant(name: str) -> Any:
    # json.loads would take NaN and Infinity without quotes.
    raise ValueError(name)


def _is_shallow(value: Any) -> bool:
    """Whether no object or array is nested deeper than the limit; checked without recursion, which could overflow."""
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
    """Whether no string has half of a surrogate pair, which cannot be stored or sent."""
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
