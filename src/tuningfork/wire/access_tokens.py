"""Access tokens in JSON: what is asked for inward, the token outward. A message of ours, in the manner of Google's.

The shape is that of `generateAccessToken` of Google's IAM credentials API, with the token's type beside it as in
RFC 6749 section 5.1.
"""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta

from tuningfork.domain.errors import FieldViolation, InvalidArgument
from tuningfork.wire.proto_json.decode import decode
from tuningfork.wire.proto_json.descriptors import Field, Kind, Message
from tuningfork.wire.proto_json.encode import Typed
from tuningfork.wire.proto_json.scalars import shown
from tuningfork.wire.proto_json.text import read

_REQUEST = "CreateAccessTokenRequest"

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

# Nine digits before the point are thirty years, more than any lifetime, and fit into a timedelta.
_DURATION = re.compile(r"(-?\d{1,9}(?:\.\d{1,9})?)s", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedToken:
    """What a caller asks for. `lifetime` None is the usual one."""

    scopes: tuple[str, ...]
    lifetime: timedelta | None


def parse_wanted_token(body: bytes) -> WantedToken:
    """The scopes and the lifetime in a request.

    Raises:
        InvalidArgument: no JSON, an unknown field, or a lifetime that is no duration.

    """
    fields = decode(CREATE_ACCESS_TOKEN, read(body))
    return WantedToken(scopes=tuple(fields.get("scopes", ())), lifetime=_duration(fields.get("lifetime", "")))


def render_access_token(value: str, expire_time: datetime, scopes: tuple[str, ...]) -> Typed:
    """The answer to the caller."""
    fields = {"access_token": value, "expire_time": expire_time, "scopes": scopes, "token_type": "Bearer"}
    return Typed(ACCESS_TOKEN, fields)


def _duration(text: str) -> timedelta | None:
    if not text:
        return None
    match = _DURATION.fullmatch(text)
    if match is None:
        description = f"lifetime must be seconds with an s behind them, such as 3600s; {shown(text)} was given"
        raise InvalidArgument.of(_REQUEST, (FieldViolation(field="lifetime", description=description),))
    return timedelta(seconds=float(match[1]))
