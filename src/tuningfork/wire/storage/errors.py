"""Errors as storage/v1 answers them: `{"error": {"code", "message", "errors": [{"message", "domain", "reason"}]}}`."""

from tuningfork.buckets.errors import BucketNotEmpty, ConditionNotMet, RangeNotSatisfiable
from tuningfork.domain.errors import (
    ApiKeyNotValid,
    CallerUnknown,
    QuotaExceeded,
    ScopeInsufficient,
    TokenNotValid,
    TuningforkError,
)
from tuningfork.wire.google.errors import HTTP_STATUS, LEGACY_REASONS
from tuningfork.wire.storage.resources import Json

CONDITION_NOT_MET = 412
RANGE_NOT_SATISFIABLE = 416
UNAUTHENTICATED = 401
TOO_LARGE = 413

_REASONS = {
    **LEGACY_REASONS,
    400: "invalid",
    CONDITION_NOT_MET: "conditionNotMet",
    TOO_LARGE: "uploadTooLarge",
    RANGE_NOT_SATISFIABLE: "requestedRangeNotSatisfiable",
}


def status_of(error: TuningforkError) -> int:
    """The HTTP status of an error."""
    match error:
        case ConditionNotMet():
            return CONDITION_NOT_MET
        case RangeNotSatisfiable():
            return RANGE_NOT_SATISFIABLE
        case ApiKeyNotValid():
            return UNAUTHENTICATED
    return HTTP_STATUS[error.code]


def sentence_of(error: TuningforkError) -> str:
    """The sentence of an error."""
    match error:
        case CallerUnknown():
            return (
                "No credential was sent. Send an access token or an API key. Google's client for Python finds a file "
                "of credentials by itself (GOOGLE_APPLICATION_CREDENTIALS) if it has the server's address from "
                "API_ENDPOINT_OVERRIDE instead of STORAGE_EMULATOR_HOST. The operator of a server on this machine can "
                "also let in programs without any credential: TUNINGFORK_STORAGE_WITHOUT_CREDENTIALS=true."
            )
        case TokenNotValid() | ApiKeyNotValid():
            return "The access token or API key is unknown, expired or revoked."
        case ScopeInsufficient(scopes=scopes):
            return f"The access token has none of the scopes {', '.join(scopes)}."
        case QuotaExceeded(retry_seconds=seconds):
            return f"Too many requests; try again in {seconds} seconds."
    return error.message


def render_error(error: TuningforkError, status: int) -> Json:
    """The JSON of an error."""
    message = sentence_of(error)
    reason = "conflict" if isinstance(error, BucketNotEmpty) else _REASONS.get(status, "backendError")
    return {
        "error": {
            "code": status,
            "message": message,
            "errors": [{"message": message, "domain": "global", "reason": reason}],
        }
    }
