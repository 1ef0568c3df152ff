"""Every error that a user of the service can meet, each with one code.

    TuningforkError
    ├── InvalidArgument          the request itself is wrong; `violations` says where
    │   ├── ApiKeyNotValid           the key is unknown or revoked
    │   ├── RefreshTokenNotValid     the refresh token, or the key that it was made for, is unknown or revoked
    │   └── AssertionNotValid        the assertion, or the service account that signed it, is not good
    ├── NotFound                 the named thing does not exist
    ├── AlreadyExists            the chosen name is taken
    ├── PermissionDenied         the caller is known, but may not
    │   ├── CallerUnknown            no credential was sent at all
    │   ├── ApiKeyRequired           an access token was sent where only a key will do
    │   └── ScopeInsufficient        the access token is good, but not for this method
    ├── ResourceExhausted        a queue or quota is full; try again later
    │   ├── QuotaExceeded            the caller's own budget is used up; says which and until when
    │   └── TooManyTries             too many wrong credentials came from one address; says until when
    ├── FailedPrecondition       right request, wrong moment (a model still CREATING)
    ├── Cancelled                stopped on request
    ├── DeadlineExceeded         the caller took longer than is allowed
    ├── Unimplemented           a method that this server does not serve
    ├── InternalError           our fault; the message says what is kept and what to do
    │   └── BaseUnusable             a base model's files, or a lack of memory, keep it from being used
    ├── Unavailable             a worker is starting or was replaced; try again
    │   └── Busy                     what few may use at once is taken; says when to try again
    └── Unauthenticated         the credential belongs to nobody
        ├── TokenNotValid            the access token is unknown, expired or revoked
        └── ClientNotValid           the client secret is not the one that belongs to the refresh token

Errors carry facts: which field, which limit, whose budget. `message` tells them in plain words, for logs and for the
operator; what a caller reads is written by the dialect that they speak. Errors about models, jobs and permissions are
in `refusals`. Raised where the fault is known, translated at borders only.
"""

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, ClassVar


class Code(StrEnum):
    """The kind of an error. Each dialect has a number or a status for each code."""

    CANCELLED = "CANCELLED"
    UNKNOWN = "UNKNOWN"
    INVALID_ARGUMENT = "INVALID_ARGUMENT"
    DEADLINE_EXCEEDED = "DEADLINE_EXCEEDED"
    NOT_FOUND = "NOT_FOUND"
    ALREADY_EXISTS = "ALREADY_EXISTS"
    PERMISSION_DENIED = "PERMISSION_DENIED"
    RESOURCE_EXHAUSTED = "RESOURCE_EXHAUSTED"
    FAILED_PRECONDITION = "FAILED_PRECONDITION"
    ABORTED = "ABORTED"
    OUT_OF_RANGE = "OUT_OF_RANGE"
    UNIMPLEMENTED = "UNIMPLEMENTED"
    INTERNAL = "INTERNAL"
    UNAVAILABLE = "UNAVAILABLE"
    DATA_LOSS = "DATA_LOSS"
    UNAUTHENTICATED = "UNAUTHENTICATED"


class Reason(StrEnum):
    """What kind of fault a field has. A dialect with a sentence of its own for a fault finds the fault by this."""

    MISSING = "missing"
    """The field is required and was left out, or is empty."""
    EXCLUDED = "excluded"
    """The field cannot be set together with another one, or only together with it."""
    MALFORMED = "malformed"
    """The text is not of the form that the field takes."""
    NOT_ALLOWED = "not allowed"
    """The value is readable, and may not stand here."""
    OUT_OF_RANGE = "out of range"
    """The number is below the least or above the most that is allowed."""
    TOO_LONG = "too long"
    """The text has too many characters or tokens, or the list has too many members."""
    OTHER = "other"
    """Whatever only the description tells."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldViolation:
    """One thing wrong with a request.

    `field` is a snake_case path from the request's root (`examples[3].output`), "" for the request as a whole. Dialects
    put their own path in its place. `reason` is the kind of fault. `description` says what is wrong, without a full
    stop; `given` is the value that was refused, where it is not in the description.
    """

    field: str
    description: str
    given: str = ""
    reason: Reason = Reason.OTHER


class Quota(StrEnum):
    """A budget that an operator can set for each caller."""

    REQUESTS_PER_MINUTE = "requests per minute"
    TOKENS_PER_MINUTE = "tokens per minute"
    CONCURRENT_JOBS = "tuning jobs at a time"


class TuningforkError(Exception):
    """The base class of the tree: an error whose message may be shown to the caller.

    Args:
        message: what happened; "": the message is made of the violations.
        violations: everything that is wrong with a request.

    """

    code: ClassVar[Code] = Code.UNKNOWN

    def __init__(self, message: str = "", *, violations: tuple[FieldViolation, ...] = ()) -> None:
        self.message = message or "; ".join(f"{each.field}: {each.description}" for each in violations)
        self.violations = violations
        super().__init__(self.message)

    def __reduce__(self) -> tuple[object, ...]:
        # Errors are pickled to cross process borders, and the constructors of subclasses have different arguments.
        return _rebuild, (type(self), self.args, vars(self))


def _rebuild(kind: type[TuningforkError], arguments: tuple[Any, ...], facts: dict[str, Any]) -> TuningforkError:
    error = kind.__new__(kind, *arguments)
    vars(error).update(facts)
    return error


class InvalidArgument(TuningforkError):
    """The request is wrong in any state of the service; each violation names a field."""

    code = Code.INVALID_ARGUMENT


class ApiKeyNotValid(InvalidArgument):
    """The API key is unknown, revoked or malformed."""

    def __init__(self) -> None:
        super().__init__("the API key is unknown or revoked")


class RefreshTokenNotValid(InvalidArgument):
    """A refresh token cannot be exchanged for an access token: it, or its API key, is unknown or revoked."""


class AssertionNotValid(InvalidArgument):
    """An assertion cannot be exchanged for an access token. The message says what is wrong with it."""


class NotFound(TuningforkError):
    """The named model, job or operation does not exist."""

    code = Code.NOT_FOUND


class AlreadyExists(TuningforkError):
    """The chosen name is taken; choose another."""

    code = Code.ALREADY_EXISTS


class PermissionDenied(TuningforkError):
    """The caller is known, but holds no role that allows this."""

    code = Code.PERMISSION_DENIED


class CallerUnknown(PermissionDenied):
    """No credential was sent at all."""

    def __init__(self) -> None:
        super().__init__("no credential was sent")


class ApiKeyRequired(PermissionDenied):
    """The caller sent an access token to a method that accepts only API keys."""

    def __init__(self) -> None:
        super().__init__("access tokens are made for API keys only, not for other access tokens")


class ScopeInsufficient(PermissionDenied):
    """The access token has none of the scopes that the method accepts.

    Args:
        method: the full name of the method.
        scopes: the scopes of which the token needs any one.

    """

    def __init__(self, method: str, scopes: tuple[str, ...]) -> None:
        super().__init__(f"the access token has none of the scopes of {method}")
        self.method = method
        self.scopes = scopes


class ResourceExhausted(TuningforkError):
    """A queue is full or a quota is used up; the same request may succeed later."""

    code = Code.RESOURCE_EXHAUSTED


class QuotaExceeded(ResourceExhausted):
    """The caller has used up a budget that the operator set.

    Args:
        quota: the budget.
        limit: the most that it allows.
        caller: the credential whose budget it is (`Principal.credential`); "": the local principal's.
        retry_seconds: how long to wait before the same request may succeed.

    """

    def __init__(self, quota: Quota, *, limit: int, caller: str, retry_seconds: float) -> None:
        # Whole seconds, rounded up, so that a caller who waits that long is not too early.
        self.retry_seconds = max(1, math.ceil(retry_seconds))
        self.quota = quota
        self.limit = limit
        self.caller = caller
        super().__init__(f"{quota.value}: {limit} is the most, try again in {self.retry_seconds} seconds")


class TooManyTries(ResourceExhausted):
    """Too many wrong credentials have come from one address; none is looked at for `retry_seconds`."""

    def __init__(self, *, retry_seconds: float) -> None:
        self.retry_seconds = max(1, math.ceil(retry_seconds))
        super().__init__(
            f"Too many wrong credentials have come from this address. Try again in {self.retry_seconds} seconds."
        )


class FailedPrecondition(TuningforkError):
    """The request is right, but the state of the named thing does not allow it now."""

    code = Code.FAILED_PRECONDITION


class Cancelled(TuningforkError):
    """The work was stopped on request."""

    code = Code.CANCELLED


class DeadlineExceeded(TuningforkError):
    """The caller kept the server waiting for longer than is allowed."""

    code = Code.DEADLINE_EXCEEDED


class Unimplemented(TuningforkError):
    """The dialect has this method or field, but this server does not serve it."""

    code = Code.UNIMPLEMENTED


class InternalError(TuningforkError):
    """A fault of the server; the message says what happened to the caller's work."""

    code = Code.INTERNAL


class BaseUnusable(InternalError):
    """The base model that the catalog names cannot be loaded or tuned; the message says what to change."""


class Unavailable(TuningforkError):
    """A worker is starting or was just replaced; the same request will succeed in a moment."""

    code = Code.UNAVAILABLE


class Busy(Unavailable):
    """Something that takes few callers at a time is taken; nothing was done. `retry_seconds`: when to try again."""

    def __init__(self, message: str, *, retry_seconds: float) -> None:
        super().__init__(message)
        self.retry_seconds = max(1, math.ceil(retry_seconds))


class Unauthenticated(TuningforkError):
    """The caller's credential belongs to nobody."""

    code = Code.UNAUTHENTICATED


class TokenNotValid(Unauthenticated):
    """The access token is unknown, has expired, or was obtained with a key that is revoked.

    Args:
        method: the full name of the method; given only if this server accepts no tokens of this kind.

    """

    def __init__(self, method: str | None = None) -> None:
        super().__init__("the access token is not valid")
        self.method = method


class ClientNotValid(Unauthenticated):
    """The client id or secret that was sent with a refresh token is missing, or not the one that belongs to it."""
