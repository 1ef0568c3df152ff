"""The table of sessions. Only hashes of their credentials are stored; a session that is ended is deleted."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, RowMapping, and_, func, or_, select

from tuningfork.domain.api_key import ApiKeyId
from tuningfork.domain.permission import Email
from tuningfork.domain.session import Session, SessionId
from tuningfork.store.credential_tables import api_keys, sessions


def insert(connection: Connection, session: Session, credential_hash: str) -> None:
    """Add a session."""
    row = {
        "id": session.id,
        "display_name": session.display_name,
        "email": session.email,
        "key_id": session.key_id or None,
        "scopes": None if session.scopes is None else " ".join(sorted(session.scopes)),
        "credential_hash": credential_hash,
        "create_time": session.create_time,
        "expire_time": session.expire_time,
    }
    connection.execute(sessions.insert(), row)


def find(connection: Connection, credential_hash: str) -> Session | None:
    """The session whose credential has this hash, expired or not; None if there is none."""
    row = connection.execute(select(sessions).where(sessions.c.credential_hash == credential_hash)).mappings().first()
    return None if row is None else _session(row)


def of_person(connection: Connection, email: Email, now: datetime) -> Sequence[Session]:
    """The sessions of a person that are good at this time, the newest first."""
    query = select(sessions).where(sessions.c.email == email, _is_good(now))
    rows = connection.execute(query.order_by(sessions.c.create_time.desc(), sessions.c.id)).mappings()
    return [_session(row) for row in rows]


def of_everybody(connection: Connection, now: datetime, most: int | None = None) -> Sequence[Session]:
    """The sessions of all people that are good at this time, the newest first; at most so many."""
    query = select(sessions).where(_is_good(now)).order_by(sessions.c.create_time.desc(), sessions.c.id).limit(most)
    return [_session(row) for row in connection.execute(query).mappings()]


def count_by_key(connection: Connection, now: datetime) -> dict[ApiKeyId, int]:
    """How many sessions each API key has that are good at this time; keys without any are left out."""
    query = select(sessions.c.key_id, func.count()).where(sessions.c.key_id.is_not(None), _is_good(now))
    return {ApiKeyId(key_id): count for key_id, count in connection.execute(query.group_by(sessions.c.key_id))}


def delete(connection: Connection, session_ids: Sequence[SessionId]) -> None:
    """End these sessions."""
    connection.execute(sessions.delete().where(sessions.c.id.in_(session_ids)))


def delete_expired(connection: Connection, now: datetime) -> None:
    """Remove all sessions that have expired at this time."""
    connection.execute(sessions.delete().where(sessions.c.expire_time <= now))


def _is_good(now: datetime) -> ColumnElement[bool]:
    """Whether a session has not expired, and the key that it was begun with is not revoked."""
    live_keys = select(api_keys.c.id).where(api_keys.c.revoke_time.is_(None))
    return and_(sessions.c.expire_time > now, or_(sessions.c.key_id.is_(None), sessions.c.key_id.in_(live_keys)))


def _session(row: RowMapping) -> Session:
    return Session(
        id=SessionId(row["id"]),
        display_name=row["display_name"],
        email=Email(row["email"]),
        key_id=ApiKeyId(row["key_id"] or ""),
        scopes=None if row["scopes"] is None else frozenset(row["scopes"].split()),
        create_time=row["create_time"],
        expire_time=row["expire_time"],
    )
