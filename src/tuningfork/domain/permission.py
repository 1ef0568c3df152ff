"""Permissions: who may do what with a tuned model.

People and groups are identified by e-mail addresses in lower case, which only `parse_email` makes.
"""

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import NewType

from tuningfork.domain.errors import FieldViolation, Reason
from tuningfork.domain.tuned_model import TunedModelId

PermissionId = NewType("PermissionId", str)
Email = NewType("Email", str)
"""An address that `parse_email` returned."""

MAX_EMAIL_CHARACTERS = 254
"""The longest address that mail servers accept (RFC 5321, section 4.5.3.1.3, without two brackets)."""

MAX_PROJECT_NUMBER = 2**63 - 1
"""The largest int64, the type of `readerProjectNumbers`."""
_MAX_PROJECT_DIGITS = 40


class Role(StrEnum):
    """The roles on a tuned model; each may do everything that the previous role may."""

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
        """The weakest role that allows the action."""
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
class Grant:
    """What limits a credential that is not an API key: an access token, or a session.

    `scopes` None: it may do all that its key may. `expire_time` None: nobody knows when it ends. `session` is the id of
    the session; "": it is an access token. `by_issuer`: an external issuer made it, or the token that the session was
    begun with.
    """

    scopes: frozenset[str] | None
    expire_time: datetime | None = None
    session: str = ""
    by_issuer: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """The caller: a person, by e-mail address, on behalf of a project.

    `groups` are the addresses of the groups that the person is in. `credential` identifies the credential that was
    sent, such as a key's id; quotas are counted for it, and no permission depends on it. `grant` is what limits the
    credential; None: it is an API key, or the server asks for none.
    """

    email: Email
    project: str = ""
    groups: frozenset[Email] = frozenset()
    credential: str = field(default="", compare=False)
    grant: Grant | None = field(default=None, compare=False)

    @property
    def project_number(self) -> int | None:
        """The project's number, as in `readerProjectNumbers`; None if the project has a name instead of a number."""
        is_number = self.project.isascii() and self.project.isdecimal() and len(self.project) <= _MAX_PROJECT_DIGITS
        number = int(self.project) if is_number else 0
        return number if 0 < number <= MAX_PROJECT_NUMBER else None


LOCAL_PRINCIPAL = Principal(email=Email("me@localhost"), project="local")
"""The machine's owner: the holder of keys that were made without an e-mail address."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Permission:
    """One role of one grantee on one model. `email` is None only for EVERYONE."""

    id: PermissionId
    model_id: TunedModelId
    grantee_type: GranteeType
    email: Email | None
    role: Role


@dataclass(frozen=True, slots=True, kw_only=True)
class PermissionRequest:
    """A requested permission; values that the request lacks are None or ""."""

    grantee_type: GranteeType | None = None
    email_address: str = ""
    role: Role | None = None


def parse_email(text: str) -> Email:
    """The address in the form in which addresses are stored and compared: trimmed and in lower case.

    Raises:
        ValueError: the text is not an e-mail address, or not in Unicode's form NFKC; the message shows the right form.

    """
    address = text.strip().lower()
    local, at, domain = address.partition("@")
    is_readable = address.isprintable() and not any(map(str.isspace, address))
    if not (local and at and domain and is_readable) or "@" in domain or len(address) > MAX_EMAIL_CHARACTERS:
        raise ValueError(
            f"must be an address such as ada@example.com, at most {MAX_EMAIL_CHARACTERS} characters; "
            f"{text[:80]!r} was given"
        )
    # Refuses characters that NFKC or lower case turn into others, such as the Kelvin sign, whose lower case is k: two
    # different addresses must not become one.
    if (ordinary := unicodedata.normalize("NFKC", text.strip())) != text.strip():
        raise ValueError(f"must be spelled with ordinary characters, as {ordinary!r}; {text[:80]!a} was given")
    return Email(address)


def violations_of(request: PermissionRequest) -> tuple[FieldViolation, ...]:
    """Everything that is wrong with a request for a permission on any model."""
    return (
        *_violations_of_grantee(request.grantee_type, request.email_address),
        *violations_of_role(request.role, request.grantee_type),
    )


def violations_of_role(role: Role | None, grantee_type: GranteeType | None) -> tuple[FieldViolation, ...]:
    """Everything that is wrong with this role for a grantee of this type."""
    if role is None:
        described, reason = "role is required: READER or WRITER", Reason.MISSING
    elif role is Role.OWNER:
        described, reason = "role must be READER or WRITER; a model has one owner", Reason.NOT_ALLOWED
    elif grantee_type is GranteeType.EVERYONE and role is not Role.READER:
        described, reason = f"role must be READER for EVERYONE; {role.value} was given", Reason.EXCLUDED
    else:
        return ()
    return (FieldViolation(field="role", description=described, reason=reason),)


def violations_of_email(address: str) -> tuple[FieldViolation, ...]:
    """Everything that is wrong with the address of a person or group."""
    if not address.strip():
        return (FieldViolation(field="email_address", description="email_address is required", reason=Reason.MISSING),)
    try:
        parse_email(address)
    except ValueError as error:
        described = f"email_address {error}"
        return (FieldViolation(field="email_address", description=described, reason=Reason.MALFORMED),)
    return ()


def _violations_of_grantee(grantee_type: GranteeType | None, address: str) -> tuple[FieldViolation, ...]:
    if grantee_type is None:
        described = "grantee_type is required: USER, GROUP or EVERYONE"
        return (FieldViolation(field="grantee_type", description=described, reason=Reason.MISSING),)
    if grantee_type is not GranteeType.EVERYONE:
        return violations_of_email(address)
    if address:
        described = f"email_address must not be set for EVERYONE; {address[:80]!r} was given"
        return (FieldViolation(field="email_address", description=described, reason=Reason.EXCLUDED),)
    return ()


def role_of(
    principal: Principal, permissions: Iterable[Permission], reader_project_numbers: Iterable[int] = ()
) -> Role | None:
    """The strongest role that the principal has on a model; None: the principal has none.

    Args:
        principal: the caller.
        permissions: all permissions on the model.
        reader_project_numbers: the model's reader projects; a caller on behalf of one of them is a READER.

    """
    roles = [permission.role for permission in permissions if _is_for(permission, principal)]
    if principal.project_number is not None and principal.project_number in reader_project_numbers:
        roles.append(Role.READER)
    return max(roles, key=lambda role: role.rank, default=None)


def allows(role: Role | None, action: Action) -> bool:
    """Whether this role allows the action."""
    return role is not None and role.rank >= action.least_role.rank


def _is_for(permission: Permission, principal: Principal) -> bool:
    match permission.grantee_type:
        case GranteeType.USER:
            return permission.email == principal.email
        case GranteeType.GROUP:
            return permission.email in principal.groups
        case GranteeType.EVERYONE:
            return True
