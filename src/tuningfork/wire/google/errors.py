"""Renders errors: google.rpc.Status over HTTP and in operations, with its detail messages.

Tables: google/rpc/{code,status,error_details}.proto. The HTTP status of each code is the mapping of code.proto.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tuningfork.domain.errors import (
    ApiKeyNotValid,
    ApiKeyRequired,
    Busy,
    Code,
    FieldViolation,
    Quota,
    QuotaExceeded,
    ScopeInsufficient,
    TokenNotValid,
    TooManyTries,
    TuningforkError,
)
from tuningfork.wire.google.proto_json.descriptors import Field, Kind, Message
from tuningfork.wire.google.proto_json.encode import Typed, encode

NUMBERS: Mapping[Code, int] = {
    Code.CANCELLED: 1,
    Code.UNKNOWN: 2,
    Code.INVALID_ARGUMENT: 3,
    Code.DEADLINE_EXCEEDED: 4,
    Code.NOT_FOUND: 5,
    Code.ALREADY_EXISTS: 6,
    Code.PERMISSION_DENIED: 7,
    Code.RESOURCE_EXHAUSTED: 8,
    Code.FAILED_PRECONDITION: 9,
    Code.ABORTED: 10,
    Code.OUT_OF_RANGE: 11,
    Code.UNIMPLEMENTED: 12,
    Code.INTERNAL: 13,
    Code.UNAVAILABLE: 14,
    Code.DATA_LOSS: 15,
    Code.UNAUTHENTICATED: 16,
}
"""google.rpc.Code."""

HTTP_STATUS: Mapping[Code, int] = {
    Code.CANCELLED: 499,
    Code.UNKNOWN: 500,
    Code.INVALID_ARGUMENT: 400,
    Code.DEADLINE_EXCEEDED: 504,
    Code.NOT_FOUND: 404,
    Code.ALREADY_EXISTS: 409,
    Code.PERMISSION_DENIED: 403,
    Code.RESOURCE_EXHAUSTED: 429,
    Code.FAILED_PRECONDITION: 400,
    Code.ABORTED: 409,
    Code.OUT_OF_RANGE: 400,
    Code.UNIMPLEMENTED: 501,
    Code.INTERNAL: 500,
    Code.UNAVAILABLE: 503,
    Code.DATA_LOSS: 500,
    Code.UNAUTHENTICATED: 401,
}

STATUS = Message(
    "google.rpc.Status",
    (
        Field(1, "code", Kind.INT32),
        Field(2, "message", Kind.STRING),
        Field(3, "details", Kind.ANY, repeated=True),
    ),
)
ERROR_INFO = Message(
    "google.rpc.ErrorInfo",
    (
        Field(1, "reason", Kind.STRING),
        Field(2, "domain", Kind.STRING),
        Field(3, "metadata", Kind.JSON, presence=True),  # map<string, string>
    ),
)
LOCALIZED_MESSAGE = Message(
    "google.rpc.LocalizedMessage",
    (Field(1, "locale", Kind.STRING), Field(2, "message", Kind.STRING)),
)
FIELD_VIOLATION = Message(
    "google.rpc.BadRequest.FieldViolation",
    (Field(1, "field", Kind.STRING), Field(2, "description", Kind.STRING)),
)
BAD_REQUEST = Message("google.rpc.BadRequest", (Field(1, "field_violations", FIELD_VIOLATION, repeated=True),))

QUOTA_VIOLATION = Message(
    "google.rpc.QuotaFailure.Violation",
    (
        Field(4, "quota_metric", Kind.STRING),
        Field(5, "quota_id", Kind.STRING),
        Field(6, "quota_dimensions", Kind.JSON, presence=True),  # map<string, string>
        Field(7, "quota_value", Kind.INT64),
    ),
)
QUOTA_FAILURE = Message("google.rpc.QuotaFailure", (Field(1, "violations", QUOTA_VIOLATION, repeated=True),))
RETRY_INFO = Message("google.rpc.RetryInfo", (Field(1, "retry_delay", Kind.JSON),))  # Duration, in JSON "57s"
HELP_LINK = Message("google.rpc.Help.Link", (Field(1, "description", Kind.STRING), Field(2, "url", Kind.STRING)))
HELP = Message("google.rpc.Help", (Field(1, "links", HELP_LINK, repeated=True),))

_QUOTAS: Mapping[Quota, tuple[str, str]] = {
    Quota.REQUESTS_PER_MINUTE: ("requests", "RequestsPerMinutePerKey"),
    Quota.TOKENS_PER_MINUTE: ("tokens", "TokensPerMinutePerKey"),
    Quota.CONCURRENT_JOBS: ("concurrent_tuning_jobs", "ConcurrentTuningJobsPerKey"),
}
"""For each budget the last part of its metric's name, and its quota id."""

LEGACY_REASONS: Mapping[int, str] = {
    400: "badRequest",
    401: "authError",
    403: "forbidden",
    404: "notFound",
    405: "httpMethodNotAllowed",
    409: "conflict",
    429: "rateLimitExceeded",
    499: "clientClosedRequest",
    501: "notImplemented",
    503: "backendError",
    504: "gatewayTimeout",
}
"""The reason of each HTTP status in the first error format (`$.xgafv=1`); other statuses have `backendError`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorInfo:
    """The machine-readable reason of an error (google.rpc.ErrorInfo)."""

    reason: str
    domain: str = "googleapis.com"
    metadata: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class QuotaViolation:
    """One budget that is used up (google.rpc.QuotaFailure.Violation).

    `value` is the most that the budget allows; `dimensions` say whose budget it is.
    """

    metric: str
    id: str
    value: int
    dimensions: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorWords:
    """The texts of one API's errors.

    `service` is the API's name, such as `generativelanguage.googleapis.com`. `usual_version` is the API version that
    messages name if the request names none. `about_quotas` is the link that an error about a used-up quota carries.
    `message_of` gives the message of an error for a caller of an API version. `finish` changes how an error is printed.
    """

    service: str
    usual_version: str
    about_quotas: Mapping[str, str]
    message_of: Callable[[TuningforkError, str], str]
    finish: Callable[[TuningforkError, "Printed"], "Printed"] = lambda _, shown: shown


@dataclass(frozen=True, slots=True, kw_only=True)
class Printed:
    """An error with the texts of an API. `violations` have field paths of the API's messages."""

    code: Code
    message: str
    violations: tuple[FieldViolation, ...] = ()
    info: ErrorInfo | None = None
    further: tuple[Typed, ...] = ()
    """Further details, already as messages."""


def printed(error: TuningforkError, words: ErrorWords, version: str | None) -> Printed:
    """The error with the texts of an API, for a caller of this API version; None: the API's usual version."""
    message = words.message_of(error, version or words.usual_version)
    further: tuple[Typed, ...] = ()
    if isinstance(error, ApiKeyNotValid):
        further = (Typed(LOCALIZED_MESSAGE, {"locale": "en-US", "message": message}),)
    if isinstance(error, QuotaExceeded):
        further = tuple(_quota_details(error, words))
    if isinstance(error, Busy | TooManyTries):
        further = (Typed(RETRY_INFO, {"retry_delay": f"{error.retry_seconds}s"}),)
    info = info_of(error, words.service)
    shown = Printed(code=error.code, message=message, violations=error.violations, info=info, further=further)
    return words.finish(error, shown)


def render_error(error: Printed, http_status: int | None = None, *, first_format: bool = False) -> dict[str, Any]:
    """The JSON of an error: `{"error": {"code", "message", "status", "details"}}`.

    Args:
        error: the error to render.
        http_status: the status to print as `code`, if it is not the usual one of the error's code (405).
        first_format: also print `errors`, as the first error format of Google's APIs did.

    """
    code = http_status or HTTP_STATUS[error.code]
    shown: dict[str, Any] = {"code": code, "message": error.message}
    if first_format:
        reason = LEGACY_REASONS.get(code, "backendError")
        shown["errors"] = [{"message": error.message, "domain": "global", "reason": reason}]
    shown["status"] = error.code.value
    details = encode(STATUS, {"details": list(_details(error))})
    return {"error": {**shown, **details}}


def render_status(code: Code, message: str) -> Typed:
    """The error of an operation, which has the number of google.rpc.Code instead of an HTTP status."""
    return Typed(STATUS, {"code": NUMBERS[code], "message": message})


def info_of(error: TuningforkError, service: str) -> ErrorInfo | None:
    """The machine-readable reason of an error; None if it has none."""
    match error:
        case ApiKeyNotValid():
            return ErrorInfo(reason="API_KEY_INVALID", metadata=(("service", service),))
        case ApiKeyRequired():
            return ErrorInfo(reason="ACCESS_TOKEN_TYPE_UNSUPPORTED", metadata=(("service", service),))
        case ScopeInsufficient(method=method):
            metadata = (("service", service), ("method", method))
            return ErrorInfo(reason="ACCESS_TOKEN_SCOPE_INSUFFICIENT", metadata=metadata)
        case TokenNotValid(method=str(method)):
            metadata = (("service", service), ("method", method))
            return ErrorInfo(reason="ACCESS_TOKEN_TYPE_UNSUPPORTED", domain="", metadata=metadata)
        case _:
            return None


def quota_violation(error: QuotaExceeded, service: str) -> QuotaViolation:
    """The budget that is used up."""
    metric, quota_id = _QUOTAS[error.quota]
    dimensions = (("key", error.caller),) if error.caller else ()
    return QuotaViolation(metric=f"{service}/{metric}", id=quota_id, value=error.limit, dimensions=dimensions)


def _details(error: Printed) -> Iterator[Typed]:
    if error.info:
        info = {"reason": error.info.reason, "domain": error.info.domain, "metadata": dict(error.info.metadata)}
        yield Typed(ERROR_INFO, info)
    if error.violations:
        violations = [{"field": each.field, "description": each.description} for each in error.violations]
        yield Typed(BAD_REQUEST, {"field_violations": violations})
    yield from error.further


def _quota_details(error: QuotaExceeded, words: ErrorWords) -> Iterator[Typed]:
    exceeded = quota_violation(error, words.service)
    violation = {
        "quota_metric": exceeded.metric,
        "quota_id": exceeded.id,
        "quota_dimensions": dict(exceeded.dimensions),
        "quota_value": exceeded.value,
    }
    yield Typed(HELP, {"links": [dict(words.about_quotas)]})
    yield Typed(QUOTA_FAILURE, {"violations": [violation]})
    yield Typed(RETRY_INFO, {"retry_delay": f"{error.retry_seconds}s"})
