"""Rows of permissions and of API keys. Keys are known here by their hash only."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, RowMapping, func, literal, select

from tuningfork.domain.api_key import ApiKey, ApiKeyId
from tuningfork.domain.permission import Email, GranteeType, Permission, PermissionId, Principal, Role
from tuningfork.domain.tuned_model import TunedModelId
from tuningfork.store.schema import UtcDateTime, api_keys, permissions


def grant(connection: Connection, permission: Permission) -> None:
    """Add a permission."""
    row = {
        "model_id": permission.model_id,
        "id": permission.id,
        "grantee_type": permission.grantee_type.value,
        "email": permission.email,
        "role": permission.role.value,
    }
    connection.execute(permissions.insert(), row)


def permissions_of(connection: Connection, model_id: TunedModelId) -> Sequence[Permission]:
    """All permissions on one model."""
    query = select(permissions).where(permissions.c.model_id == model_id).order_by(permissions.c.id)
    return [_permission(row) for row in connection.execute(query).mappings()]


def insert_key(connection: Connection, key: ApiKey, key_hash: str) -> None:
    """Add a key."""
    row = {
        "id": key.id,
        "name": key.name,
        "email": key.principal.email,
        "project": key.principal.project,
        "prefix": key.prefix,
        "key_hash": key_hash,
        "create_time": key.create_time,
    }
    connection.execute(api_keys.insert(), row)


def find_key(connection: Connection, key_hash: str) -> ApiKey | None:
    """The key of this hash, revoked or not; None if there is none."""
    row = connection.execute(select(api_keys).where(api_keys.c.key_hash == key_hash)).mappings().first()
    return None if row is None else _key(row)


def keys(connection: Connection) -> list[ApiKey]:
    """All keys, the oldest first."""
    query = select(api_keys).order_by(api_keys.c.create_time, api_keys.c.id)
    return [_key(row) for row in connection.execute(query).mappings()]


def revoke_key(connection: Connection, key_id: ApiKeyId, time: datetime) -> bool:
    """Make the key invalid; one that is already keeps its time. Returns whether there is such a key."""
    change = api_keys.update().where(api_keys.c.id == key_id)
    return bool(
        connection.execute(
            change.values(revoke_time=func.coalesce(api_keys.c.revoke_time, literal(time, UtcDateTime())))
        ).rowcount
    )


def _permission(row: RowMapping) -> Permission:
    return Permission(
        id=PermissionId(row["id"]),
        model_id=TunedModelId(row["model_id"]),
        grantee_type=GranteeType(row["grantee_type"]),
        email=None if row["email"] is None else Email(row["email"]),
        role=Role(row["role"]),
    )


def _key(row: RowMapping) -> ApiKey:
    return ApiKey(
        id=ApiKeyId(row["id"]),
        name=row["name"],
        principal=Principal(email=Email(row["email"]), project=row["project"]),
        prefix=row["prefix"],
        create_time=row["create_time"],
        revoke_time=row["revoke_time"],
    )
