"""Parses requests for refresh tokens, and renders the tokens."""

from collections.abc import Sequence
from typing import Any

from tuningfork.domain.refresh_token import RefreshToken
from tuningfork.wire.google.proto_json.decode import decode
from tuningfork.wire.google.proto_json.descriptors import Field, Kind, Message
from tuningfork.wire.google.proto_json.encode import Typed
from tuningfork.wire.google.proto_json.text import read
from tuningfork.wire.google.requests import RequestWords

_REQUEST = "CreateRefreshTokenRequest"

CREATE = RequestWords(_REQUEST, sentences=False)
"""The request's part of errors about a request for a refresh token."""

CREATE_REFRESH_TOKEN = Message(f"tuningfork.v1.{_REQUEST}", (Field(1, "name", Kind.STRING),))
REFRESH_TOKEN = Message(
    "tuningfork.v1.RefreshToken",
    (
        Field(1, "id", Kind.STRING),
        Field(2, "name", Kind.STRING),
        Field(3, "key_id", Kind.STRING),
        Field(4, "create_time", Kind.TIMESTAMP),
        Field(5, "revoke_time", Kind.TIMESTAMP),
        # Only the answer to the request that made it has these; they are stored nowhere.
        Field(6, "client_id", Kind.STRING),
        Field(7, "client_secret", Kind.STRING),
        Field(8, "refresh_token", Kind.STRING),
        Field(9, "project", Kind.STRING),
    ),
)
REFRESH_TOKENS = Message(
    "tuningfork.v1.ListRefreshTokensResponse", (Field(1, "refresh_tokens", REFRESH_TOKEN, repeated=True),)
)


def parse_name(body: bytes) -> str:
    """The name in a request; "" if it has none.

    Raises:
        InvalidArgument: the body is not JSON, or has an unknown field.

    """
    name: str = decode(CREATE_REFRESH_TOKEN, read(body)).get("name", "")
    return name


def render_new(token: RefreshToken, *, client_id: str, client_secret: str, refresh_token: str, project: str) -> Typed:
    """The answer with a new refresh token and its secrets. `project` is that of its API key."""
    secrets = {"client_id": client_id, "client_secret": client_secret, "refresh_token": refresh_token}
    return Typed(REFRESH_TOKEN, {**_fields(token), **secrets, "project": project})


def render_refresh_token(token: RefreshToken) -> Typed:
    """A refresh token without its secrets."""
    return Typed(REFRESH_TOKEN, _fields(token))


def render_refresh_tokens(tokens: Sequence[RefreshToken]) -> Typed:
    """The list."""
    return Typed(REFRESH_TOKENS, {"refresh_tokens": [_fields(each) for each in tokens]})


def _fields(token: RefreshToken) -> dict[str, Any]:
    return {
        "id": token.id,
        "name": token.name,
        "key_id": token.key_id,
        "create_time": token.create_time,
        "revoke_time": token.revoke_time,
    }
