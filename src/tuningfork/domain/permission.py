"""Who may do what with a tuned model: one pure rule."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NewType

from tuningfork.domain.tuned_model import TunedModelId

PermissionId = NewType("PermissionId", str)
Email = NewType("Email", str)


class Role(StrEnum):
    """Concentric: each role may do all that the one before it may."""

    READER = "READER"
    WRITER = "WRITER"
    OWNER = "OWNER"

    @property
    def rank(self) -> int:
        """READER 1, WRITER 2, OWNER 3."""
        return list(Role).index(self) + 1


class GranteeType(StrEnum):
    """Whom a permission is for."""

    USER = "USER"
    GROUP = "GROUP"
    EVERYONE = "EVERYONE"


class Action(StrEnum):
    """What can be done with a tuned model; each action needs at least one role."""

    GET = "get"
    GENERATE = "generate"
    CANCEL = "cancel"
    DELETE = "delete"
    UPDATE = "update"
    TUNE_ON = "tune on"
    SEE_PERMISSIONS = "see permissions"
    SHARE = "share"
    TRANSFER = "transfer"

    @property
    def least_role(self) -> Role:
        """The weakest role that allows it."""
        return _LEAST_ROLE[self]


_LEAST_ROLE = {
    Action.GET: Role.READER,
    Action.GENERATE: Role.READER,
    Action.CANCEL: Role.WRITER,
    Action.DELETE: Role.OWNER,
    Action.UPDATE: Role.WRITER,
    Action.TUNE_ON: Role.READER,
    Action.SEE_PERMISSIONS: Role.READER,
    Action.SHARE: Role.WRITER,
    Action.TRANSFER: Role.OWNER,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """Who is calling: a person (by e-mail address) on behalf of a project.

    `groups` are the addresses of the groups that the person is in. `credential` tells what they showed apart from
    what else they could have shown (a key's id); quotas are counted by it, and no right depends on it.
    """

    email: Email
    project: str = ""
    groups: frozenset[Email] = frozenset()
    credential: str = field(default="", compare=False)


LOCAL_PRINCIPAL = Principal(email=Email("me@localhost"), project="local")
"""Whoever owns the machine: the identity of keys that were made without an e-mail address."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Permission:
    """One grant on one model. `email` is None for EVERYONE only."""

    id: PermissionId
    model_id: TunedModelId
    grantee_type: GranteeType
    email: Email | None
    role: Role


def role_of(principal: Principal, permissions: Iterable[Permission]) -> Role | None:
    """The strongest role that these permissions give to the principal; None for a stranger."""
    roles = [permission.role for permission in permissions if _is_for(permission, principal)]
    return max(roles, key=lambda role: role.rank, default=None)


def allows(role: Role | None, action: Action) -> bool:
    """Whether someone with this role may do this."""
    return role is not None and role.rank >= action.least_role.rank


def _is_for(permission: Permission, principal: Principal) -> bool:
    if permission.grantee_type is GranteeType.EVERYONE:
        return True
    return permission.grantee_type is GranteeType.USER and permission.email == principal.email
