"""The table of refresh tokens. Only hashes of their secrets are stored."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, RowMapping, select

from tuningfork.domain.api_key import ApiKeyId
from tuningfork.domain.permission import Email
from tuningfork.domain.refresh_token import RefreshToken, RefreshTokenId
from tuningfork.store import revocable_rows
from tuningfork.store.credential_tables import refresh_tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretHashes:
    """The hashes of a refresh token and of the client secret that is sent with it, in hexadecimal digits."""

    token: str
    client_secret: str


def insert(connection: Connection, token: RefreshToken, hashes: SecretHashes) -> None:
    """Add a refresh token."""
    row = {
        "id": token.id,
        "name": token.name,
        "key_id": token.key_id or None,
        "token_hash": hashes.token,
        "client_secret_hash": hashes.client_secret,
        "create_time": token.create_time,
    }
    connection.execute(refresh_tokens.insert(), row)


def find(connection: Connection, token_hash: str) -> tuple[RefreshToken, SecretHashes] | None:
    """The refresh token with this hash, revoked or not, and its hashes; None if there is none."""
    return _found(connection, refresh_tokens.c.token_hash == token_hash)


def find_client(connection: Connection, client_secret_hash: str) -> tuple[RefreshToken, SecretHashes] | None:
    """The refresh token whose client secret has this hash, as in `find`."""
    return _found(connection, refresh_tokens.c.client_secret_hash == client_secret_hash)


def of_person(connection: Connection, email: Email, *, keyless: bool = False) -> Sequence[RefreshToken]:
    """The refresh tokens of all keys of a person, revoked ones too, the oldest first.

    `keyless`: also those that were made for no key.
    """
    return [_token(row) for row in revocable_rows.of_person(connection, refresh_tokens, email, keyless=keyless)]


def forget(connection: Connection, token_ids: Sequence[RefreshTokenId]) -> None:
    """Delete these refresh tokens."""
    revocable_rows.forget(connection, refresh_tokens, token_ids)


def revoke(
    connection: Connection, token_id: RefreshTokenId, email: Email, time: datetime, *, keyless: bool = False
) -> None:
    """Revoke a person's refresh token, if there is one; the time of one that is revoked already stays."""
    revocable_rows.revoke(connection, refresh_tokens, token_id, email, time, keyless=keyless)


def _found(connection: Connection, is_wanted: ColumnElement[bool]) -> tuple[RefreshToken, SecretHashes] | None:
    row = connection.execute(select(refresh_tokens).where(is_wanted)).mappings().first()
    if row is None:
        return None
    return _token(row), SecretHashes(token=row["token_hash"], client_secret=row["client_secret_hash"])


def _token(row: RowMapping) -> RefreshToken:
    return RefreshToken(
        id=RefreshTokenId(row["id"]),
        name=row["name"],
        key_id=ApiKeyId(row["key_id"] or ""),
        create_time=row["create_time"],
        revoke_time=row["revoke_time"],
    )
