"""Who may call what: one pure rule over the method, what the caller showed, and their role on the model.

What a method asks of an access token is the table of gemini-api section 5; what it asks of a role is `Action`'s.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from tuningfork.domain.method import Method
from tuningfork.domain.permission import Action, Role, allows

_AUTH = "https://www.googleapis.com/auth/"


class Scope(StrEnum):
    """What an access token is good for, by the names that Google's clients ask for."""

    CLOUD_PLATFORM = f"{_AUTH}cloud-platform"
    GENERATIVE_LANGUAGE = f"{_AUTH}generative-language"
    TUNING = f"{_AUTH}generative-language.tuning"
    TUNING_READONLY = f"{_AUTH}generative-language.tuning.readonly"
    RETRIEVER = f"{_AUTH}generative-language.retriever"
    RETRIEVER_READONLY = f"{_AUTH}generative-language.retriever.readonly"

    @classmethod
    def named(cls, text: str) -> "Scope":
        """The scope of this name, which may lack what all names begin with.

        Raises:
            ValueError: there is none; the message names those that there are.

        """
        try:
            return cls(text if text.startswith("https://") else f"{_AUTH}{text}")
        except ValueError:
            raise ValueError(f"{text[:80]!r} is no scope of this service; use {', '.join(cls)}") from None


class CredentialKind(StrEnum):
    """What a caller shows."""

    NONE = "none"
    API_KEY = "API key"
    ACCESS_TOKEN = "access token"  # noqa: S105 - a name, no secret
    # Whoever reaches a server that asks for nothing (`--no-auth`).
    LOCAL = "local"


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """A credential that was found to be genuine. Only access tokens are held to their `scopes`."""

    kind: CredentialKind
    scopes: frozenset[str] = frozenset()


class Verdict(StrEnum):
    """How a call is decided; of several reasons to refuse it, the first in this order."""

    ALLOWED = "allowed"
    CALLER_UNKNOWN = "caller unknown"
    API_KEY_REQUIRED = "API key required"
    SCOPE_INSUFFICIENT = "scope insufficient"
    ROLE_INSUFFICIENT = "role insufficient"


_ALWAYS = (Scope.CLOUD_PLATFORM, Scope.GENERATIVE_LANGUAGE)
_CHANGES_TUNING = (*_ALWAYS, Scope.TUNING)
_READS_TUNING = (*_CHANGES_TUNING, Scope.TUNING_READONLY)
_ANY = (*_READS_TUNING, Scope.RETRIEVER, Scope.RETRIEVER_READONLY)

SCOPES: Mapping[Method, tuple[Scope, ...]] = {
    Method.LIST_MODELS: _ANY,
    Method.GET_MODEL: _ANY,
    Method.CREATE_TUNED_MODEL: _CHANGES_TUNING,
    Method.LIST_TUNED_MODELS: _READS_TUNING,
    Method.GET_TUNED_MODEL: _READS_TUNING,
    Method.UPDATE_TUNED_MODEL: _CHANGES_TUNING,
    Method.DELETE_TUNED_MODEL: _CHANGES_TUNING,
    Method.CANCEL_TUNED_MODEL: _CHANGES_TUNING,
    Method.GENERATE_CONTENT: _ANY,
    Method.STREAM_GENERATE_CONTENT: _ANY,
    Method.COUNT_TOKENS: _ANY,
    Method.GENERATE_TEXT: _ANY,
    Method.CREATE_PERMISSION: _ANY,
    Method.GET_PERMISSION: _ANY,
    Method.LIST_PERMISSIONS: _ANY,
    Method.UPDATE_PERMISSION: _ANY,
    Method.DELETE_PERMISSION: _ANY,
    Method.TRANSFER_OWNERSHIP: _ANY,
    # Operations ask for what their tuned models do.
    Method.GET_OPERATION: _READS_TUNING,
    Method.LIST_OPERATIONS: _READS_TUNING,
    Method.CANCEL_OPERATION: _CHANGES_TUNING,
    Method.DELETE_OPERATION: _CHANGES_TUNING,
    Method.PREVIEW_TUNED_MODEL: _CHANGES_TUNING,
    Method.EXPORT_ADAPTER: _READS_TUNING,
    # A token that made tokens would outlive itself.
    Method.CREATE_ACCESS_TOKEN: (),
}
"""The scopes of which a token needs any one; none for a method that takes no tokens."""

ACTIONS: Mapping[Method, Action | None] = {
    Method.LIST_MODELS: None,
    Method.GET_MODEL: None,
    # The model is new; the one that it is tuned on, if any, is only used.
    Method.CREATE_TUNED_MODEL: Action.TUNE_ON,
    # Whatever the caller has no role on is left out instead of refused.
    Method.LIST_TUNED_MODELS: None,
    Method.GET_TUNED_MODEL: Action.GET,
    Method.UPDATE_TUNED_MODEL: Action.UPDATE,
    Method.DELETE_TUNED_MODEL: Action.DELETE,
    Method.CANCEL_TUNED_MODEL: Action.CANCEL,
    Method.GENERATE_CONTENT: Action.GENERATE,
    Method.STREAM_GENERATE_CONTENT: Action.GENERATE,
    Method.COUNT_TOKENS: Action.GENERATE,
    Method.GENERATE_TEXT: Action.GENERATE,
    Method.CREATE_PERMISSION: Action.SHARE,
    Method.GET_PERMISSION: Action.SEE_PERMISSIONS,
    Method.LIST_PERMISSIONS: Action.SEE_PERMISSIONS,
    Method.UPDATE_PERMISSION: Action.SHARE,
    Method.DELETE_PERMISSION: Action.SHARE,
    Method.TRANSFER_OWNERSHIP: Action.TRANSFER,
    Method.GET_OPERATION: Action.GET,
    Method.LIST_OPERATIONS: Action.GET,
    Method.CANCEL_OPERATION: Action.CANCEL,
    Method.DELETE_OPERATION: Action.DELETE,
    Method.PREVIEW_TUNED_MODEL: Action.TUNE_ON,
    Method.EXPORT_ADAPTER: Action.GET,
    Method.CREATE_ACCESS_TOKEN: None,
}
"""What a method does with the tuned model that a call names; None where it names none."""


def decide(method: Method, credential: Credential, role: Role | None) -> Verdict:
    """Whether this call is allowed.

    Args:
        method: what is called.
        credential: what the caller showed, found to be genuine.
        role: theirs on the tuned model that the call names, None for a stranger. A call that names no tuned model
            (`models/x:generateContent`, tuning on a base) is decided by `decide_caller` alone.

    """
    verdict = decide_caller(method, credential)
    action = ACTIONS[method]
    if verdict is not Verdict.ALLOWED or action is None:
        return verdict
    return decide_role(action, role)


def decide_caller(method: Method, credential: Credential) -> Verdict:
    """The part of the rule that needs no tuned model; asked at the gate, before a request is read."""
    match credential.kind:
        case CredentialKind.NONE:
            return Verdict.CALLER_UNKNOWN
        case CredentialKind.API_KEY | CredentialKind.LOCAL:
            return Verdict.ALLOWED
        case CredentialKind.ACCESS_TOKEN:
            wanted = SCOPES[method]
            if not wanted:
                return Verdict.API_KEY_REQUIRED
            return Verdict.SCOPE_INSUFFICIENT if credential.scopes.isdisjoint(wanted) else Verdict.ALLOWED


def decide_role(action: Action, role: Role | None) -> Verdict:
    """The part of the rule that needs the tuned model; asked where the model is read."""
    return Verdict.ALLOWED if allows(role, action) else Verdict.ROLE_INSUFFICIENT
