"""The table of the keys that sign access tokens, which all servers on one database share."""

from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Connection, select

from tuningfork.store.credential_tables import signing_keys


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningKey:
    """A secret and the id by which tokens name it."""

    id: str
    secret: bytes = field(repr=False)
    create_time: datetime


def insert(connection: Connection, key: SigningKey) -> None:
    """Add a key."""
    row = {"id": key.id, "secret": key.secret, "create_time": key.create_time}
    connection.execute(signing_keys.insert(), row)


def all_of_them(connection: Connection) -> list[SigningKey]:
    """All keys, the oldest first."""
    query = select(signing_keys).order_by(signing_keys.c.create_time, signing_keys.c.id)
    return [SigningKey(**row) for row in connection.execute(query).mappings()]
