"""Parses requests for access tokens, and renders the tokens.

The messages are those of `generateAccessToken` of Google's IAM credentials API, with the token's type in addition (RFC
6749 section 5.1).
"""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta

from tuningfork.domain.errors import FieldViolation
from tuningfork.wire.google.proto_json.decode import decode
from tuningfork.wire.google.proto_json.descriptors import Field, Kind, Message
from tuningfork.wire.google.proto_json.encode import Typed
from tuningfork.wire.google.proto_json.scalars import shown
from tuningfork.wire.google.proto_json.text import read
from tuningfork.wire.google.requests import RequestWords, refused

_REQUEST = "CreateAccessTokenRequest"

CREATE = RequestWords(_REQUEST, sentences=False)
"""The request's part of errors about a request for a token."""

CREATE_ACCESS_TOKEN = Message(
    f"tuningfork.v1.{_REQUEST}",
    (
        Field(1, "scopes", Kind.STRING, repeated=True),
        Field(2, "lifetime", Kind.STRING),  # google.protobuf.Duration
    ),
)
ACCESS_TOKEN = Message(
    "tuningfork.v1.AccessToken",
    (
        Field(1, "access_token", Kind.STRING),
        Field(2, "expire_time", Kind.TIMESTAMP),
        Field(3, "scopes", Kind.STRING, repeated=True),
        Field(4, "token_type", Kind.STRING),
    ),
)

# Nine digits before the point, about thirty years, are enough for every lifetime, and fit into a timedelta.
_DURATION = re.compile(r"(-?\d{1,9}(?:\.\d{1,9})?)s", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedToken:
    """The token that a caller asks for. `lifetime` None: the default."""

    scopes: tuple[str, ...]
    lifetime: timedelta | None


def parse_wanted_token(body: bytes) -> WantedToken:
    """The scopes and the lifetime in a request.

    Raises:
        InvalidArgument: the body is not JSON, has an unknown field, or its lifetime is not a duration.

    """
    fields = decode(CREATE_ACCESS_TOKEN, read(body))
    return WantedToken(scopes=tuple(fields.get("scopes", ())), lifetime=_duration(fields.get("lifetime", "")))


def render_access_token(value: str, expire_time: datetime, scopes: tuple[str, ...]) -> Typed:
    """The answer with the token."""
    fields = {"access_token": value, "expire_time": expire_time, "scopes": scopes, "token_type": "Bearer"}
    return Typed(ACCESS_TOKEN, fields)


def _duration(text: str) -> timedelta | None:
    if not text:
        return None
    match = _DURATION.fullmatch(text)
    if match is None:
        description = f"lifetime must be seconds with an s behind them, such as 3600s; {shown(text)} was given"
        raise refused(_REQUEST, (FieldViolation(field="lifetime", description=description),))
    return timedelta(seconds=float(match[1]))
