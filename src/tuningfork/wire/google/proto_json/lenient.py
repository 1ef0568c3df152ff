"""A JSON parser that accepts and refuses the same texts as the parser of Google's APIs.

Beyond RFC 8259 it accepts trailing commas, single-quoted strings, unquoted identifiers as keys, raw control characters
in strings, and a missing value as null (`[1,,2]`, `{"a":}`). It refuses comments, octal and hexadecimal numbers,
leading zeros, nesting deeper than `MAX_DEPTH`, numbers longer than `MAX_NUMBER_CHARACTERS` and lone surrogates.
Its time is linear in the length of the text. The error texts are the open-source parser's (protobuf,
util/internal/json_stream_parser); after each come the text around the fault and a caret below it.
"""

import math
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any, NoReturn

from tuningfork.domain.errors import FieldViolation, InvalidArgument

MAX_DEPTH = 100
"""The deepest nesting of objects and arrays; protobuf's own default."""

MAX_NUMBER_CHARACTERS = 1_000
"""The longest number: Python's int() takes quadratic time, and no field needs more than about 320 characters."""

_CONTEXT_CHARACTERS = 20
_PREFIX = "Invalid JSON payload received. "

_SPACE = r"[ \t\n\r]*"
_NEXT = re.compile(rf"{_SPACE}(.?)", re.DOTALL)
_COMMAS = re.compile(rf"(?:,{_SPACE})+")
_WHOLE_STRING = re.compile(r""""([^"\\]*)"|'([^'\\]*)'""")
_IDENTIFIER = re.compile(r"[A-Za-z_$][A-Za-z0-9_$]*")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_OCTAL_OR_HEX = re.compile(r"-?0[0-9xX]")
_PLAIN = {'"': re.compile(r'[^"\\]*'), "'": re.compile(r"[^'\\]*")}
_HEX4 = re.compile(r"[0-9a-fA-F]{4}")
_LOW_SURROGATE = re.compile(r"\\u([dD][c-fC-F][0-9a-fA-F]{2})")
_ESCAPES = {
    '"': '"',
    "'": "'",
    "\\": "\\",
    "/": "/",
    "b": "\b",
    "f": "\f",
    "n": "\n",
    "r": "\r",
    "t": "\t",
    "v": "\v",
}
_KEYWORDS: dict[str, bool | None] = {"true": True, "false": False, "null": None}


class RepeatedKeys(dict[str, Any]):
    """An object in whose text some keys occur more than once. It has the last value of each; `decode` reports them."""

    def __init__(self, pairs: Sequence[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        self.repeated = frozenset(key for key, times in Counter(key for key, _ in pairs).items() if times > 1)


def object_of(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """The object of these members: a plain dict, or `RepeatedKeys` if a key occurs twice."""
    plain = dict(pairs)
    return plain if len(plain) == len(pairs) else RepeatedKeys(pairs)


def malformed(description: str) -> InvalidArgument:
    """The error of a body that is not JSON; it is about the message as a whole, so it names no field."""
    message = _PREFIX + description
    return InvalidArgument(message, violations=(FieldViolation(field="", description=message),))


def parse_number(literal: str) -> int | float:
    """The number of a JSON literal: an int if it has neither fraction nor exponent.

    Raises:
        ValueError: the literal is too long, or beyond the range of a double.

    """
    if len(literal) > MAX_NUMBER_CHARACTERS:
        raise ValueError("too long")
    if literal.lstrip("-").isdigit():
        return int(literal)
    number = float(literal)
    if math.isinf(number):
        raise ValueError("beyond a double")
    return number


def _end_of(pattern: re.Pattern[str], text: str, position: int) -> int:
    """The end of the longest match at this position; the position itself if nothing matches."""
    match = pattern.match(text, position)
    return match.end() if match else position


class LenientParser:
    """Parses one text, once: `LenientParser(text).document()`."""

    __slots__ = ("_position", "_text")

    def __init__(self, text: str) -> None:
        self._text = text
        self._position = 0

    def document(self) -> Any:
        """The value of the whole text.

        Raises:
            InvalidArgument: this parser refuses the text; the message shows where.

        """
        self._next()
        value = self._value(0, "", "Expected a value.")
        if self._next():
            self._fail("Parsing terminated before end of input.")
        return value

    def _next(self) -> str:
        """Skip white space and return the next character without reading it; "" at the end."""
        match = _NEXT.match(self._text, self._position)
        if match is None:
            return ""
        self._position = match.start(1)
        return match[1]

    def _value(self, depth: int, key: str, expected: str) -> Any:
        character = self._text[self._position : self._position + 1]
        if character in ('"', "'"):
            return self._string(character)
        if character in ("{", "["):
            if depth == MAX_DEPTH:
                # This error does not quote the text around the fault, which would be brackets only.
                raise malformed(f"Message too deep. Max recursion depth reached for key '{key[:80]}'")
            self._position += 1
            return self._object(depth + 1) if character == "{" else self._array(depth + 1, key)
        if character == "-" or (character.isascii() and character.isdigit()):
            return self._number()
        return self._keyword(character, expected)

    def _keyword(self, character: str, expected: str) -> bool | None:
        match = _IDENTIFIER.match(self._text, self._position)
        if match and match[0] in _KEYWORDS:
            self._position = match.end()
            return _KEYWORDS[match[0]]
        if match or character in (",", ":", "}", "]"):
            self._fail("Unexpected token.")
        return self._fail(expected)

    def _object(self, depth: int) -> dict[str, Any]:
        pairs: list[tuple[str, Any]] = []
        while (character := self._next()) != "}":
            key = self._key(character)
            if self._next() != ":":
                self._fail("Expected : between key:value pair.")
            self._position += 1
            if self._next() in (",", "}"):
                pairs.append((key, None))
            else:
                pairs.append((key, self._value(depth, key, "Expected a value.")))
            separator = self._next()
            if separator == ",":
                self._position += 1
            elif separator != "}":
                self._fail("Expected , or } after key:value pair.")
        self._position += 1
        return object_of(pairs)

    def _key(self, character: str) -> str:
        if character in ('"', "'"):
            return self._string(character)
        match = _IDENTIFIER.match(self._text, self._position)
        if match is None:
            self._fail("Expected an object key or }.")
        self._position = match.end()
        return match[0]

    def _array(self, depth: int, key: str) -> list[Any]:
        items: list[Any] = []
        while (character := self._next()) != "]":
            if character == ",":
                items.extend(self._missing_values())
                continue
            items.append(self._value(depth, key, "Expected a value or ] within an array."))
            separator = self._next()
            if separator == ",":
                self._position += 1
            elif separator != "]":
                self._fail("Expected , or ] after array value.")
        self._position += 1
        return items

    def _missing_values(self) -> list[None]:
        """One null for each comma where a value is expected; read all at once, so that many commas take little time."""
        end = _end_of(_COMMAS, self._text, self._position)
        count = self._text.count(",", self._position, end)
        self._position = end
        return [None] * count

    def _string(self, quote: str) -> str:
        if whole := _WHOLE_STRING.match(self._text, self._position):
            self._position = whole.end()
            return whole[whole.lastindex or 0]
        start = self._position
        plain = _PLAIN[quote]
        pieces: list[str] = []
        self._position += 1
        while True:
            end = _end_of(plain, self._text, self._position)
            pieces.append(self._text[self._position : end])
            self._position = end
            if self._position == len(self._text):
                self._position = start
                self._fail("Unexpected end of string. Closing quote expected in string.")
            if self._text[self._position] == quote:
                self._position += 1
                return "".join(pieces)
            pieces.append(self._escape())

    def _escape(self) -> str:
        letter = self._text[self._position + 1 : self._position + 2]
        if letter != "u":
            if letter not in _ESCAPES:
                self._fail("Invalid escape sequence.")
            self._position += 2
            return _ESCAPES[letter]
        digits = _HEX4.match(self._text, self._position + 2)
        if digits is None:
            self._fail("Illegal hex string.")
        code = int(digits[0], 16)
        if 0xDC00 <= code <= 0xDFFF:
            self._fail("Invalid unicode code point: a low surrogate without a high one before it.")
        if 0xD800 <= code <= 0xDBFF:
            return self._surrogate_pair(code)
        self._position += 6
        return chr(code)

    def _surrogate_pair(self, high: int) -> str:
        match = _LOW_SURROGATE.match(self._text, self._position + 6)
        if match is None:
            self._fail("Invalid unicode code point: a high surrogate without a low one behind it.")
        self._position += 12
        return chr(0x10000 + ((high - 0xD800) << 10) + int(match[1], 16) - 0xDC00)

    def _number(self) -> int | float:
        if _OCTAL_OR_HEX.match(self._text, self._position):
            self._fail("Octal/hex numbers are not valid JSON values.")
        match = _NUMBER.match(self._text, self._position)
        if match is None:
            self._fail("Unable to parse number.")
        after = self._text[match.end() : match.end() + 1]
        if after and (after.isalnum() or after in ".+-_"):
            self._fail("Unable to parse number.")
        try:
            number = parse_number(match[0])
        except ValueError:
            self._fail("Unable to parse number.")
        self._position = match.end()
        return number

    def _fail(self, sentence: str) -> NoReturn:
        at = self._position
        if at == len(self._text):
            sentence = f"Unexpected end of string. {sentence}"
        begin = max(at - _CONTEXT_CHARACTERS, 0)
        segment = self._text[begin : at + _CONTEXT_CHARACTERS]
        raise malformed(f"{sentence}\n{segment}\n{' ' * (at - begin)}^")
