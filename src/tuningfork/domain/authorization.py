"""Decides whether a call is allowed, from the method's requirement, the caller's credential and role on the model.

Each dialect lists the requirements of its methods; `Action` has the least role of each action.
"""

from dataclasses import dataclass
from enum import StrEnum

from tuningfork.domain.permission import Action, Role, allows


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownScopes:
    """The scopes that access tokens of this server can have, by their full names, which all begin with `prefix`."""

    names: tuple[str, ...]
    prefix: str = ""

    def named(self, text: str) -> str:
        """The full name of a scope that is given with or without the prefix.

        Raises:
            ValueError: there is no such scope; the message lists the scopes.

        """
        full = text if text.startswith(self.prefix) else f"{self.prefix}{text}"
        if full not in self.names:
            raise ValueError(f"{text[:80]!r} is no scope of this service; use {', '.join(self.names)}")
        return full


@dataclass(frozen=True, slots=True, kw_only=True)
class Requirement:
    """What a method requires of its caller.

    An access token needs any one of `scopes`; a method without scopes accepts no access tokens. `action` is what the
    method does with the tuned model that a call names; None: a call names no tuned model. A method that
    `makes_credentials` accepts no session: what it makes could outlast the session.
    """

    scopes: tuple[str, ...]
    action: Action | None
    makes_credentials: bool = False


class CredentialKind(StrEnum):
    """The kind of credential with which a caller was authenticated."""

    NONE = "none"
    API_KEY = "API key"
    ACCESS_TOKEN = "access token"  # noqa: S105 - a name, no secret
    # Every caller of a server without authentication (`--no-auth`).
    LOCAL = "local"


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """A verified credential. `scopes` matter only for access tokens.

    A session has the kind of the credential that it was begun with, and `is_session`.
    """

    kind: CredentialKind
    scopes: frozenset[str] = frozenset()
    is_session: bool = False


class CallDecision(StrEnum):
    """Whether a call is allowed, or why it is refused. If several reasons apply, the first in this order is given."""

    ALLOWED = "allowed"
    CALLER_UNKNOWN = "caller unknown"
    API_KEY_REQUIRED = "API key required"
    SCOPE_INSUFFICIENT = "scope insufficient"
    ROLE_INSUFFICIENT = "role insufficient"


def decide(required: Requirement, credential: Credential, role: Role | None) -> CallDecision:
    """Whether this call is allowed.

    Args:
        required: the requirement of the called method.
        credential: the caller's verified credential.
        role: the caller's role on the tuned model that the call names; None: the caller has no role. For a call that
            names no tuned model, use `decide_caller`.

    """
    decision = decide_caller(required, credential)
    if decision is not CallDecision.ALLOWED or required.action is None:
        return decision
    return decide_role(required.action, role)


def decide_caller(required: Requirement, credential: Credential) -> CallDecision:
    """The part of the rule that needs no tuned model; checked before a request is read."""
    if credential.is_session and required.makes_credentials:
        return CallDecision.API_KEY_REQUIRED
    match credential.kind:
        case CredentialKind.NONE:
            return CallDecision.CALLER_UNKNOWN
        case CredentialKind.API_KEY | CredentialKind.LOCAL:
            return CallDecision.ALLOWED
        case CredentialKind.ACCESS_TOKEN:
            if not required.scopes:
                return CallDecision.API_KEY_REQUIRED
            sufficient = not credential.scopes.isdisjoint(required.scopes)
            return CallDecision.ALLOWED if sufficient else CallDecision.SCOPE_INSUFFICIENT


def decide_role(action: Action, role: Role | None) -> CallDecision:
    """The part of the rule that needs the tuned model; checked when the model is read."""
    return CallDecision.ALLOWED if allows(role, action) else CallDecision.ROLE_INSUFFICIENT
