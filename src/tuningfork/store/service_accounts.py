"""The table of service accounts, with their public keys. Private keys are stored nowhere."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, RowMapping, select

from tuningfork.domain.api_key import ApiKeyId
from tuningfork.domain.permission import Email
from tuningfork.domain.service_account import ServiceAccount, ServiceAccountId
from tuningfork.store import revocable_rows
from tuningfork.store.credential_tables import service_accounts


def insert(connection: Connection, account: ServiceAccount, public_key: str) -> None:
    """Add a service account. `public_key`: in PEM."""
    row = {
        "id": account.id,
        "name": account.name,
        "key_id": account.key_id or None,
        "token_uri": account.token_uri,
        "public_key": public_key,
        "create_time": account.create_time,
    }
    connection.execute(service_accounts.insert(), row)


def find(connection: Connection, account_id: ServiceAccountId) -> tuple[ServiceAccount, str] | None:
    """The service account with this id, revoked or not, and its public key in PEM; None if there is none."""
    row = connection.execute(select(service_accounts).where(service_accounts.c.id == account_id)).mappings().first()
    return None if row is None else (_account(row), row["public_key"])


def of_person(connection: Connection, email: Email, *, keyless: bool = False) -> Sequence[ServiceAccount]:
    """The service accounts of all keys of a person, revoked ones too, the oldest first.

    `keyless`: also those that were made for no key.
    """
    return [_account(row) for row in revocable_rows.of_person(connection, service_accounts, email, keyless=keyless)]


def forget(connection: Connection, account_ids: Sequence[ServiceAccountId]) -> None:
    """Delete these service accounts."""
    revocable_rows.forget(connection, service_accounts, account_ids)


def revoke(
    connection: Connection, account_id: ServiceAccountId, email: Email, time: datetime, *, keyless: bool = False
) -> None:
    """Revoke a person's service account, if there is one; the time of one that is revoked already stays."""
    revocable_rows.revoke(connection, service_accounts, account_id, email, time, keyless=keyless)


def _account(row: RowMapping) -> ServiceAccount:
    return ServiceAccount(
        id=ServiceAccountId(row["id"]),
        name=row["name"],
        key_id=ApiKeyId(row["key_id"] or ""),
        token_uri=row["token_uri"],
        create_time=row["create_time"],
        revoke_time=row["revoke_time"],
    )
