"""Every error that a user of the service can meet, each with one google.rpc code.

    TuningforkError
    ├── InvalidArgument          3   the request itself is wrong; `violations` says where
    │   └── ApiKeyNotValid           the key is unknown or revoked
    ├── NotFound                 5   the named thing does not exist
    │   └── BaseModelNotFound        no base model of this name serves the method
    ├── AlreadyExists            6   the chosen name is taken
    ├── PermissionDenied         7   the caller is known, but may not
    │   ├── CallerUnknown            no credential was sent at all
    │   ├── ApiKeyRequired           an access token was sent where only a key will do
    │   └── ScopeInsufficient        the access token is good, but not for this method
    ├── ResourceExhausted        8   a queue or quota is full; try again later
    │   └── QuotaExceeded            the caller's own budget is used up; says which and until when
    ├── FailedPrecondition       9   right request, wrong moment (a model still CREATING)
    ├── Cancelled                1   stopped on request
    ├── Unimplemented           12   a method of the dialect that this server does not serve
    ├── InternalError           13   our fault; the message says what is kept and what to do
    ├── Unavailable             14   a worker is starting or was replaced; try again
    └── Unauthenticated         16   nobody stands behind what was shown
        └── TokenNotValid            the access token is unknown, expired or revoked

Raised where the fault is known, translated at borders only, rendered in one handler (`api/app.py`).
Error numbers: google.rpc.Code (google/rpc/code.proto).
"""

import math
from dataclasses import dataclass
from enum import IntEnum
from typing import ClassVar

SERVICE = "generativelanguage.googleapis.com"
"""The name of the service in errors, as its clients know it."""


class RpcCode(IntEnum):
    """The numbers of google.rpc.Code, which every error of the dialect carries."""

    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldViolation:
    """One thing wrong with a request.

    `field` is a snake_case path from the request message's root (`tuned_model.tuning_task...`), "" for the
    message as a whole.
    """

    field: str
    description: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorInfo:
    """The machine-readable reason of an error (google.rpc.ErrorInfo)."""

    reason: str
    domain: str = "googleapis.com"
    metadata: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class QuotaViolation:
    """One budget that is used up (google.rpc.QuotaFailure.Violation).

    `value` is the most that the budget allows; `dimensions` say whose it is.
    """

    metric: str
    id: str
    value: int
    dimensions: tuple[tuple[str, str], ...] = ()


class TuningforkError(Exception):
    """The root: an error whose message may be shown to the caller as it is."""

    code: ClassVar[RpcCode] = RpcCode.UNKNOWN

    def __init__(
        self, message: str, *, violations: tuple[FieldViolation, ...] = (), info: ErrorInfo | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.violations = violations
        self.info = info

    def __reduce__(self) -> tuple[object, ...]:
        # Errors cross process borders by pickle; keyword-only arguments need saying.
        return _rebuild, (type(self), self.message, self.violations, self.info)


def _rebuild(
    kind: type[TuningforkError], message: str, violations: tuple[FieldViolation, ...], info: ErrorInfo | None
) -> TuningforkError:
    return kind(message, violations=violations, info=info)


class InvalidArgument(TuningforkError):
    """The request is wrong whatever the state of the service; each violation names a field."""

    code = RpcCode.INVALID_ARGUMENT

    @classmethod
    def of(cls, request: str, violations: tuple[FieldViolation, ...]) -> "InvalidArgument":
        """One error for many violations, in the service's form `* Request.path: reason` a line.

        Args:
            request: the request message's name, such as `CreateTunedModelRequest`.
            violations: at least one.

        """
        lines = [
            f"* {request}{'.' + violation.field if violation.field else ''}: {violation.description}\n"
            for violation in violations
        ]
        return cls("".join(lines), violations=violations)


class ApiKeyNotValid(InvalidArgument):
    """The API key is unknown, revoked or malformed."""

    def __init__(self) -> None:
        super().__init__(
            "API key not valid. Please pass a valid API key.",
            info=ErrorInfo(reason="API_KEY_INVALID", metadata=(("service", SERVICE),)),
        )

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), ()


class NotFound(TuningforkError):
    """The named model, job or operation does not exist."""

    code = RpcCode.NOT_FOUND


class BaseModelNotFound(NotFound):
    """No base model of this name serves the method; told with the API version that the caller used."""

    def __init__(self, name: str, method: str, version: str = "v1beta") -> None:
        super().__init__(
            f"{name} is not found for API version {version}, or is not supported for {method}. "
            "Call ListModels to see the list of available models and their supported methods."
        )
        self._name = name
        self._method = method

    def in_version(self, version: str) -> "BaseModelNotFound":
        """The same error as it is told to a caller of this version."""
        return BaseModelNotFound(self._name, self._method, version)

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self._name, self._method)


class AlreadyExists(TuningforkError):
    """The chosen name is taken; pick another."""

    code = RpcCode.ALREADY_EXISTS


class PermissionDenied(TuningforkError):
    """The caller is known, but holds no role that allows this."""

    code = RpcCode.PERMISSION_DENIED


class CallerUnknown(PermissionDenied):
    """No credential was sent at all."""

    def __init__(self) -> None:
        super().__init__(
            "Method doesn't allow unregistered callers (callers without established identity). "
            "Please use API Key or other form of API consumer identity to call this API."
        )

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), ()


class ApiKeyRequired(PermissionDenied):
    """The caller showed an access token to a method that takes API keys only."""

    def __init__(self) -> None:
        super().__init__(
            "Access tokens are made for API keys only, not for other access tokens. Please pass an API key.",
            info=ErrorInfo(reason="ACCESS_TOKEN_TYPE_UNSUPPORTED", metadata=(("service", SERVICE),)),
        )

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), ()


class ScopeInsufficient(PermissionDenied):
    """The access token has none of the scopes that the method asks for.

    Args:
        method: the full name of the method.
        scopes: any one of these would have been enough.

    """

    def __init__(self, method: str, scopes: tuple[str, ...]) -> None:
        super().__init__(
            "Request had insufficient authentication scopes.",
            info=ErrorInfo(
                reason="ACCESS_TOKEN_SCOPE_INSUFFICIENT", metadata=(("service", SERVICE), ("method", method))
            ),
        )
        self.method = method
        self.scopes = scopes

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.method, self.scopes)


class ResourceExhausted(TuningforkError):
    """A queue or a quota is full; the same request may go through later."""

    code = RpcCode.RESOURCE_EXHAUSTED


class QuotaExceeded(ResourceExhausted):
    """The caller has used up a budget that the operator set.

    Args:
        exceeded: the budget.
        retry_seconds: when the same request is worth another try.

    """

    def __init__(self, exceeded: QuotaViolation, retry_seconds: float) -> None:
        # Whole seconds, rounded up: who comes back after them is not refused for coming too early.
        self.retry_seconds = max(1, math.ceil(retry_seconds))
        self.exceeded = exceeded
        super().__init__(
            "You exceeded your current quota, please check your plan and billing details.\n"
            f"* Quota exceeded for metric: {exceeded.metric}, limit: {exceeded.value}\n"
            f"Please retry in {self.retry_seconds}s."
        )

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.exceeded, self.retry_seconds)


class FailedPrecondition(TuningforkError):
    """The request is right, but the named thing is not in a state that allows it."""

    code = RpcCode.FAILED_PRECONDITION


class Cancelled(TuningforkError):
    """The work was stopped on request."""

    code = RpcCode.CANCELLED


class Unimplemented(TuningforkError):
    """The dialect has this method or field, but this server does not serve it."""

    code = RpcCode.UNIMPLEMENTED


class InternalError(TuningforkError):
    """A fault of ours; the message says what happened to the caller's work."""

    code = RpcCode.INTERNAL


class Unavailable(TuningforkError):
    """A worker is starting or was just replaced; the same request will go through in a moment."""

    code = RpcCode.UNAVAILABLE


class Unauthenticated(TuningforkError):
    """Nobody stands behind what the caller showed."""

    code = RpcCode.UNAUTHENTICATED


class TokenNotValid(Unauthenticated):
    """The access token is unknown, has expired, or was obtained with a key that is revoked.

    Args:
        method: the full name of the method, given only when the token is of a kind that nothing here takes.

    """

    def __init__(self, method: str | None = None) -> None:
        super().__init__(
            "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other "
            "valid authentication credential. See "
            "https://developers.google.com/identity/sign-in/web/devconsole-project.",
            info=None
            if method is None
            else ErrorInfo(
                reason="ACCESS_TOKEN_TYPE_UNSUPPORTED", domain="", metadata=(("service", SERVICE), ("method", method))
            ),
        )
        self.method = method

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.method,)
