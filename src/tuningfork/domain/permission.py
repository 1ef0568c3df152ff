"""Who may do what with a tuned model: one pure rule.

People and groups are told apart by e-mail addresses, compared in lower case: `parse_email` is the only way in.
"""

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NewType

from tuningfork.domain.errors import FieldViolation
from tuningfork.domain.tuned_model import TunedModelId

PermissionId = NewType("PermissionId", str)
Email = NewType("Email", str)
"""An address as `parse_email` makes it."""

MAX_EMAIL_CHARACTERS = 254
"""What a mail server takes (RFC 5321, section 4.5.3.1.3, less two brackets); short enough for every index."""

MAX_PROJECT_NUMBER = 2**63 - 1
"""The largest int64, the type of `readerProjectNumbers`."""
_MAX_PROJECT_DIGITS = 40


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

    @property
    def project_number(self) -> int | None:
        """The project as models name it in `readerProjectNumbers`; None for one that is named by letters."""
        is_number = self.project.isascii() and self.project.isdecimal() and len(self.project) <= _MAX_PROJECT_DIGITS
        number = int(self.project) if is_number else 0
        return number if 0 < number <= MAX_PROJECT_NUMBER else None


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

    @property
    def name(self) -> str:
        """The resource name, `tunedModels/{model}/permissions/{id}`."""
        return f"tunedModels/{self.model_id}/permissions/{self.id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class PermissionRequest:
    """A grant as somebody asks for it; what they left out is None or ""."""

    grantee_type: GranteeType | None = None
    email_address: str = ""
    role: Role | None = None


def parse_email(text: str) -> Email:
    """The address in the one form in which addresses are kept and compared: trimmed and in lower case.

    Raises:
        ValueError: it is none, or has another spelling (Unicode's NFKC) that is; the message shows one.

    """
    address = text.strip().lower()
    local, at, domain = address.partition("@")
    is_readable = address.isprintable() and not any(map(str.isspace, address))
    if not (local and at and domain and is_readable) or "@" in domain or len(address) > MAX_EMAIL_CHARACTERS:
        raise ValueError(
            f"must be an address such as ada@example.com, at most {MAX_EMAIL_CHARACTERS} characters; "
            f"{text[:80]!r} was given"
        )
    # A letter that only looks like another one (the Kelvin sign, whose small letter is k) makes nobody somebody else.
    if (ordinary := unicodedata.normalize("NFKC", text.strip())) != text.strip():
        raise ValueError(f"must be spelled with ordinary characters, as {ordinary!r}; {text[:80]!a} was given")
    return Email(address)


def violations_of(request: PermissionRequest) -> tuple[FieldViolation, ...]:
    """Everything that is wrong with a request for a permission, whatever the model."""
    return (
        *_violations_of_grantee(request.grantee_type, request.email_address),
        *violations_of_role(request.role, request.grantee_type),
    )


def violations_of_role(role: Role | None, grantee_type: GranteeType | None) -> tuple[FieldViolation, ...]:
    """What is wrong with the role that somebody of this type shall have."""
    if role is None:
        described = "role is required: READER or WRITER"
    elif role is Role.OWNER:
        described = (
            "role must be READER or WRITER; a model has one owner, and tunedModels.transferOwnership makes another"
        )
    elif grantee_type is GranteeType.EVERYONE and role is not Role.READER:
        described = f"role must be READER for EVERYONE; {role.value} was given"
    else:
        return ()
    return (FieldViolation(field="role", description=described),)


def violations_of_email(address: str) -> tuple[FieldViolation, ...]:
    """What is wrong with the address of a person or group."""
    if not address.strip():
        return (FieldViolation(field="email_address", description="email_address is required"),)
    try:
        parse_email(address)
    except ValueError as error:
        return (FieldViolation(field="email_address", description=f"email_address {error}"),)
    return ()


def _violations_of_grantee(grantee_type: GranteeType | None, address: str) -> tuple[FieldViolation, ...]:
    if grantee_type is None:
        described = "grantee_type is required: USER, GROUP or EVERYONE"
        return (FieldViolation(field="grantee_type", description=described),)
    if grantee_type is not GranteeType.EVERYONE:
        return violations_of_email(address)
    if address:
        described = f"email_address must not be set for EVERYONE; {address[:80]!r} was given"
        return (FieldViolation(field="email_address", description=described),)
    return ()


def role_of(
    principal: Principal, permissions: Iterable[Permission], reader_project_numbers: Iterable[int] = ()
) -> Role | None:
    """The strongest role that the principal has on a model; None for a stranger.

    Args:
        principal: whoever calls.
        permissions: all those on the model.
        reader_project_numbers: the model's; whoever calls for one of these projects is a READER.

    """
    roles = [permission.role for permission in permissions if _is_for(permission, principal)]
    if principal.project_number is not None and principal.project_number in reader_project_numbers:
        roles.append(Role.READER)
    return max(roles, key=lambda role: role.rank, default=None)


def allows(role: Role | None, action: Action) -> bool:
    """Whether someone with this role may do this."""
    return role is not None and role.rank >= action.least_role.rank


def _is_for(permission: Permission, principal: Principal) -> bool:
    match permission.grantee_type:
        case GranteeType.USER:
            return permission.email == principal.email
        case GranteeType.GROUP:
            return permission.email in principal.groups
        case GranteeType.EVERYONE:
            return True
