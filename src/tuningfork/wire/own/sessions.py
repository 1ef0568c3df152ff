"""Parses requests for sessions, and renders sessions and callers."""

from collections.abc import Mapping, Sequence
from typing import Any

from tuningfork.domain.permission import Principal
from tuningfork.domain.session import Session
from tuningfork.wire.google.proto_json.decode import decode, decode_query
from tuningfork.wire.google.proto_json.descriptors import Field, Kind, Message
from tuningfork.wire.google.proto_json.encode import Typed
from tuningfork.wire.google.proto_json.text import read
from tuningfork.wire.google.requests import RequestWords

_REQUEST = "CreateSessionRequest"

CREATE = RequestWords(_REQUEST, sentences=False)
"""The request's part of errors about a request for a session."""

CREATE_SESSION = Message(f"tuningfork.v1.{_REQUEST}", (Field(1, "display_name", Kind.STRING),))
SESSION = Message(
    "tuningfork.v1.Session",
    (
        Field(1, "name", Kind.STRING),
        Field(2, "display_name", Kind.STRING),
        Field(3, "email", Kind.STRING),
        Field(4, "key_id", Kind.STRING),
        Field(5, "create_time", Kind.TIMESTAMP),
        Field(6, "expire_time", Kind.TIMESTAMP),
        # Whether it is the session whose credential was sent with the request.
        Field(7, "current", Kind.BOOL),
        # Only the answer to the request that made it has this; it is stored nowhere.
        Field(8, "credential", Kind.STRING),
    ),
)
SESSIONS_QUERY = Message("tuningfork.v1.ListSessionsRequest", (Field(1, "everybodys", Kind.BOOL),))
SESSIONS = Message("tuningfork.v1.ListSessionsResponse", (Field(1, "sessions", SESSION, repeated=True),))
CALLER = Message(
    "tuningfork.v1.Caller",
    (
        Field(1, "email", Kind.STRING),
        Field(2, "project", Kind.STRING),
        Field(3, "credential", Kind.STRING),
        Field(4, "operator", Kind.BOOL),
        Field(5, "session", SESSION),
    ),
)


def parse_name(body: bytes) -> str:
    """The display name in a request; "" if it has none.

    Raises:
        InvalidArgument: the body is not JSON, or has an unknown field.

    """
    name: str = decode(CREATE_SESSION, read(body)).get("display_name", "") if body.strip() else ""
    return name


def parse_everybodys(query: Mapping[str, str]) -> bool:
    """Whether the sessions of all people are asked for, and not only the caller's.

    Raises:
        InvalidArgument: a parameter is unknown or malformed.

    """
    return bool(decode_query(SESSIONS_QUERY, query).get("everybodys"))


def render_new(session: Session, credential: str) -> Typed:
    """The answer with a new session and its credential."""
    return Typed(SESSION, {**_fields(session), "credential": credential})


def render_sessions(sessions: Sequence[Session], current: Session | None) -> Typed:
    """The list; `current` is the session whose credential was sent, if one was."""
    return Typed(SESSIONS, {"sessions": [_fields(each, current=each == current) for each in sessions]})


def render_caller(principal: Principal, session: Session | None, *, operator: bool) -> Typed:
    """Who calls, by which kind of credential, and whether they run the server."""
    fields = {
        "email": principal.email,
        "project": principal.project,
        "credential": _kind_of(principal, session),
        "operator": operator,
        "session": None if session is None else _fields(session, current=True),
    }
    return Typed(CALLER, fields)


def _kind_of(principal: Principal, session: Session | None) -> str:
    if session is not None:
        return "SESSION"
    if principal.grant is not None:
        return "ACCESS_TOKEN"
    return "API_KEY" if principal.credential else "NONE"


def _fields(session: Session, *, current: bool = False) -> dict[str, Any]:
    return {
        "name": f"sessions/{session.id}",
        "display_name": session.display_name,
        "email": session.email,
        "key_id": session.key_id,
        "create_time": session.create_time,
        "expire_time": session.expire_time,
        "current": current,
    }
