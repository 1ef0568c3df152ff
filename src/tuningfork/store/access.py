"""The tables of permissions, groups and API keys. Only hashes of keys are stored."""

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, RowMapping, and_, func, literal, or_, select

from tuningfork.domain.api_key import ApiKey, ApiKeyId
from tuningfork.domain.permission import Email, GranteeType, Permission, PermissionId, Principal, Role
from tuningfork.domain.tuned_model import TunedModelId
from tuningfork.store.column_types import UtcDateTime
from tuningfork.store.credential_tables import api_keys
from tuningfork.store.schema import group_members, permissions, tuned_models


def grant(connection: Connection, permission: Permission) -> None:
    """Add a permission."""
    row = {
        "model_id": permission.model_id,
        "id": permission.id,
        "grantee_type": permission.grantee_type.value,
        "email": permission.email,
        "role": permission.role.value,
    }
    made = select(tuned_models.c.create_time).where(tuned_models.c.id == permission.model_id).scalar_subquery()
    connection.execute(permissions.insert().values(**row, model_create_time=made))


def permissions_of(connection: Connection, model_id: TunedModelId) -> Sequence[Permission]:
    """All permissions on one model."""
    query = select(permissions).where(permissions.c.model_id == model_id).order_by(permissions.c.id)
    return [_permission(row) for row in connection.execute(query).mappings()]


def permissions_for(connection: Connection, model_id: TunedModelId, principal: Principal) -> Sequence[Permission]:
    """The permissions on one model that apply to the principal; permissions of others are not read."""
    email = permissions.c.email
    theirs = or_(email.in_([principal.email, *sorted(principal.groups)]), email.is_(None))
    query = select(permissions).where(permissions.c.model_id == model_id, theirs).order_by(permissions.c.id)
    return [_permission(row) for row in connection.execute(query).mappings()]


def permissions_on(connection: Connection, model_ids: Collection[TunedModelId]) -> Sequence[Permission]:
    """All permissions on these models."""
    query = select(permissions).where(permissions.c.model_id.in_(model_ids))
    return [_permission(row) for row in connection.execute(query).mappings()]


def find_permission(connection: Connection, model_id: TunedModelId, permission_id: PermissionId) -> Permission | None:
    """The permission with this id on the model, or None."""
    query = select(permissions).where(permissions.c.model_id == model_id, permissions.c.id == permission_id)
    row = connection.execute(query).mappings().first()
    return None if row is None else _permission(row)


def page_of_permissions(
    connection: Connection, model_id: TunedModelId, after: PermissionId | None, limit: int
) -> Sequence[Permission]:
    """At most `limit` permissions on a model, in the order of their ids; `after`: only those with later ids."""
    query = select(permissions).where(permissions.c.model_id == model_id).order_by(permissions.c.id).limit(limit)
    if after is not None:
        query = query.where(permissions.c.id > after)
    return [_permission(row) for row in connection.execute(query).mappings()]


def set_role(connection: Connection, permission: Permission, role: Role) -> None:
    """Change the permission's role."""
    connection.execute(permissions.update().where(_is(permission)).values(role=role.value))


def revoke(connection: Connection, permission: Permission) -> None:
    """Delete the permission."""
    connection.execute(permissions.delete().where(_is(permission)))


def groups_of(connection: Connection, member: Email) -> frozenset[Email]:
    """The addresses of the groups that somebody is in."""
    query = select(group_members.c.group_email).where(group_members.c.member_email == member)
    return frozenset(Email(row.group_email) for row in connection.execute(query))


def members_of(connection: Connection, group: Email) -> list[Email]:
    """The members of a group, by address; empty if there is no such group."""
    query = select(group_members.c.member_email).where(group_members.c.group_email == group)
    return [Email(row.member_email) for row in connection.execute(query.order_by(group_members.c.member_email))]


def groups(connection: Connection) -> list[tuple[Email, int]]:
    """All groups by address, each with the number of its members."""
    name = group_members.c.group_email
    query = select(name, func.count().label("members")).group_by(name).order_by(name)
    return [(Email(row.group_email), row.members) for row in connection.execute(query)]


def add_members(connection: Connection, group: Email, members: Iterable[Email], time: datetime) -> None:
    """Add people to a group. None of them may be in it already."""
    rows = [{"group_email": group, "member_email": member, "create_time": time} for member in members]
    if rows:
        connection.execute(group_members.insert(), rows)


def remove_members(connection: Connection, group: Email, members: Iterable[Email]) -> None:
    """Remove people from a group; a group without members does not exist."""
    wanted = group_members.c.member_email.in_(list(members))
    connection.execute(group_members.delete().where(group_members.c.group_email == group, wanted))


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
    """The key with this hash, revoked or not; None if there is none."""
    row = connection.execute(select(api_keys).where(api_keys.c.key_hash == key_hash)).mappings().first()
    return None if row is None else _key(row)


def find_key_of_id(connection: Connection, key_id: ApiKeyId) -> ApiKey | None:
    """The key with this id, revoked or not; None if there is none."""
    row = connection.execute(select(api_keys).where(api_keys.c.id == key_id)).mappings().first()
    return None if row is None else _key(row)


def keys(connection: Connection) -> list[ApiKey]:
    """All keys, the oldest first."""
    query = select(api_keys).order_by(api_keys.c.create_time, api_keys.c.id)
    return [_key(row) for row in connection.execute(query).mappings()]


def revoke_key(connection: Connection, key_id: ApiKeyId, time: datetime) -> bool:
    """Revoke the key; the time of a key that is already revoked stays. Returns whether there is such a key."""
    change = api_keys.update().where(api_keys.c.id == key_id)
    return bool(
        connection.execute(
            change.values(revoke_time=func.coalesce(api_keys.c.revoke_time, literal(time, UtcDateTime())))
        ).rowcount
    )


def is_of_person(key_id: ColumnElement[str | None], email: Email, *, keyless: bool) -> ColumnElement[bool]:
    """Whether the API key that a row's column names is one of this person's. `keyless`: or names none."""
    theirs = key_id.in_(select(api_keys.c.id).where(api_keys.c.email == email))
    return or_(theirs, key_id.is_(None)) if keyless else theirs


def _is(permission: Permission) -> ColumnElement[bool]:
    return and_(permissions.c.model_id == permission.model_id, permissions.c.id == permission.id)


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
