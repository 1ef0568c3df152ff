"""Parses requests for API keys, and renders the keys."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tuningfork.domain.api_key import ApiKey
from tuningfork.domain.operations import KeyInUse
from tuningfork.wire.google.proto_json.decode import decode
from tuningfork.wire.google.proto_json.descriptors import Field, Kind, Message
from tuningfork.wire.google.proto_json.encode import Typed
from tuningfork.wire.google.proto_json.text import read
from tuningfork.wire.google.requests import RequestWords

_REQUEST = "CreateKeyRequest"

CREATE = RequestWords(_REQUEST, sentences=False)
"""The request's part of errors about a request for a key."""

CREATE_KEY = Message(
    f"tuningfork.v1.{_REQUEST}",
    (
        Field(1, "display_name", Kind.STRING),
        # Left out: the caller.
        Field(2, "email", Kind.STRING),
        # Left out: that of the call.
        Field(3, "project", Kind.STRING),
    ),
)
KEY = Message(
    "tuningfork.v1.Key",
    (
        Field(1, "name", Kind.STRING),
        Field(2, "display_name", Kind.STRING),
        Field(3, "email", Kind.STRING),
        Field(4, "project", Kind.STRING),
        # The key's first characters, by which its holder can recognise it.
        Field(5, "prefix", Kind.STRING),
        Field(6, "create_time", Kind.TIMESTAMP),
        Field(7, "revoke_time", Kind.TIMESTAMP),
        Field(8, "session_count", Kind.INT32),
        Field(9, "mine", Kind.BOOL),
        # Only the answer to the request that made it has this; it is stored nowhere.
        Field(10, "key", Kind.STRING),
    ),
)
KEYS = Message("tuningfork.v1.ListKeysResponse", (Field(1, "keys", KEY, repeated=True),))


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedKey:
    """The key that a caller asks for. "" is what the request lacks."""

    display_name: str
    email: str
    project: str


def parse_wanted_key(body: bytes) -> WantedKey:
    """What a request for a key says.

    Raises:
        InvalidArgument: the body is not JSON, or has an unknown field.

    """
    fields = decode(CREATE_KEY, read(body)) if body.strip() else {}
    return WantedKey(**{name: fields.get(name, "") for name in ("display_name", "email", "project")})


def render_new(record: ApiKey, key: str, *, mine: bool) -> Typed:
    """The answer with a new key."""
    return Typed(KEY, {**_fields(KeyInUse(key=record, sessions=0, mine=mine)), "key": key})


def render_key(found: KeyInUse) -> Typed:
    """What is kept of a key."""
    return Typed(KEY, _fields(found))


def render_keys(found: Sequence[KeyInUse]) -> Typed:
    """The list."""
    return Typed(KEYS, {"keys": [_fields(each) for each in found]})


def _fields(found: KeyInUse) -> dict[str, Any]:
    key = found.key
    return {
        "name": f"keys/{key.id}",
        "display_name": key.name,
        "email": key.principal.email,
        "project": key.principal.project,
        "prefix": key.prefix,
        "create_time": key.create_time,
        "revoke_time": key.revoke_time,
        "session_count": found.sessions,
        "mine": found.mine,
    }
