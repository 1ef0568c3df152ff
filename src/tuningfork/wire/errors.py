"""Errors as the dialects print them: google.rpc.Status over HTTP and inside operations, with its detail messages.

Tables: google/rpc/{code,status,error_details}.proto. The HTTP status of each code is the mapping of code.proto.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tuningfork.domain.errors import (
    ApiKeyNotValid,
    FieldViolation,
    InvalidArgument,
    QuotaExceeded,
    RpcCode,
    TuningforkError,
)
from tuningfork.wire.proto_json.descriptors import Field, Kind, Message
from tuningfork.wire.proto_json.encode import Typed, encode

HTTP_STATUS: Mapping[RpcCode, int] = {
    RpcCode.CANCELLED: 499,
    RpcCode.UNKNOWN: 500,
    RpcCode.INVALID_ARGUMENT: 400,
    RpcCode.DEADLINE_EXCEEDED: 504,
    RpcCode.NOT_FOUND: 404,
    RpcCode.ALREADY_EXISTS: 409,
    RpcCode.PERMISSION_DENIED: 403,
    RpcCode.RESOURCE_EXHAUSTED: 429,
    RpcCode.FAILED_PRECONDITION: 400,
    RpcCode.ABORTED: 409,
    RpcCode.OUT_OF_RANGE: 400,
    RpcCode.UNIMPLEMENTED: 501,
    RpcCode.INTERNAL: 500,
    RpcCode.UNAVAILABLE: 503,
    RpcCode.DATA_LOSS: 500,
    RpcCode.UNAUTHENTICATED: 401,
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

ABOUT_QUOTAS = {
    "description": "Learn more about Gemini API quotas",
    "url": "https://ai.google.dev/gemini-api/docs/rate-limits",
}
"""The link that the service's own refusals carry."""

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
"""What the first error format (`$.xgafv=1`) calls each status; any other is a `backendError`."""


def render_error(
    error: TuningforkError, http_status: int | None = None, *, first_format: bool = False
) -> dict[str, Any]:
    """The one error shape: `{"error": {"code", "message", "status", "details"}}`.

    Args:
        error: what went wrong.
        http_status: printed as `code` where HTTP says more than the code's usual status (405).
        first_format: also print `errors`, as the first error format of Google's APIs did.

    """
    code = http_status or HTTP_STATUS[error.code]
    printed: dict[str, Any] = {"code": code, "message": error.message}
    if first_format:
        reason = LEGACY_REASONS.get(code, "backendError")
        printed["errors"] = [{"message": error.message, "domain": "global", "reason": reason}]
    printed["status"] = error.code.name
    details = encode(STATUS, {"details": list(_details(error))})
    return {"error": {**printed, **details}}


def render_status(code: RpcCode, message: str) -> Typed:
    """The error of an operation, with the code's own number instead of an HTTP status."""
    return Typed(STATUS, {"code": int(code), "message": message})


def _details(error: TuningforkError) -> Iterator[Typed]:
    if error.info:
        info = {"reason": error.info.reason, "domain": error.info.domain, "metadata": dict(error.info.metadata)}
        yield Typed(ERROR_INFO, info)
    if isinstance(error, ApiKeyNotValid):
        yield Typed(LOCALIZED_MESSAGE, {"locale": "en-US", "message": error.message})
    if error.violations:
        violations = [{"field": each.field, "description": each.description} for each in error.violations]
        yield Typed(BAD_REQUEST, {"field_violations": violations})
    if isinstance(error, QuotaExceeded):
        yield from _quota_details(error)


def _quota_details(error: QuotaExceeded) -> Iterator[Typed]:
    violation = {
        "quota_metric": error.exceeded.metric,
        "quota_id": error.exceeded.id,
        "quota_dimensions": dict(error.exceeded.dimensions),
        "quota_value": error.exceeded.value,
    }
    yield Typed(HELP, {"links": [ABOUT_QUOTAS]})
    yield Typed(QUOTA_FAILURE, {"violations": [violation]})
    yield Typed(RETRY_INFO, {"retry_delay": f"{error.retry_seconds}s"})


@dataclass(frozen=True, slots=True)
class Relocation:
    """Where the fields of a domain request sit in a wire request.

    `places` maps the beginning of a domain path to the beginning of a wire path; the longest one wins, and "" stands
    for all others. `said_of` names another field in the message than in the violation, for exact domain paths.
    """

    request: str
    places: Mapping[str, str]
    said_of: Mapping[str, str]

    def apply(self, error: InvalidArgument) -> InvalidArgument:
        """The same error with wire paths, as `* Request.path: reason` lines and one violation each.

        An error without violations stays as it is.
        """
        if not error.violations:
            return error
        lines = [
            f"* {self.request}.{self.said_of.get(each.field) or self.place(each.field)}: {each.description}\n"
            for each in error.violations
        ]
        violations = tuple(
            FieldViolation(field=self.place(each.field), description=_sentence(each.description))
            for each in error.violations
        )
        return InvalidArgument("".join(lines), violations=violations, info=error.info)

    def place(self, field: str) -> str:
        """The wire path of a domain path."""
        for inner in sorted(self.places, key=len, reverse=True):
            if field == inner or (inner and field.startswith((f"{inner}.", f"{inner}["))):
                return self.places[inner] + field[len(inner) :]
        return self.places.get("", "") + field


def _sentence(description: str) -> str:
    """A reason as a sentence; one that begins with a field's name keeps its small letter."""
    first = description.split(" ", 1)[0]
    begun = description if "_" in first else description[:1].upper() + description[1:]
    return begun if begun.endswith((".", "?", "!", '"')) else f"{begun}."
