"""Answers for errors as Google's APIs send them over HTTP: google.rpc.Status as JSON, and headers."""

from collections.abc import Mapping
from typing import Any

from tuningfork.api.google.options import json_answer, wants_first_error_format, wants_pretty
from tuningfork.dialect.faults import public_error
from tuningfork.dialect.form import BodyTooLarge, RequestHead, WholeAnswer
from tuningfork.domain.errors import (
    Busy,
    QuotaExceeded,
    ScopeInsufficient,
    TokenNotValid,
    TooManyTries,
    TuningforkError,
)
from tuningfork.wire.google.errors import HTTP_STATUS, ErrorWords, printed, render_error
from tuningfork.wire.google.proto_json.text import MAX_PAYLOAD_BYTES, payload_too_large

_BEARER = 'Bearer realm="https://accounts.google.com/"'


def error_json(error: Exception, words: ErrorWords) -> dict[str, Any]:
    """The JSON of any exception, with the texts of an API. An unexpected exception is logged; see `public_error`."""
    return render_error(printed(public_error(error), words, None))


def error_answer(
    error: TuningforkError,
    head: RequestHead,
    words: ErrorWords,
    *,
    version: str | None = None,
    status: int | None = None,
) -> WholeAnswer:
    """The whole answer, in the format that the request asks for.

    Args:
        error: the error.
        head: the request.
        words: the texts of the called API's errors.
        version: the called API version, which some messages name. None: the API's usual version.
        status: the HTTP status, if it is not the usual one of the error's code (405 has no code of its own).

    """
    if isinstance(error, BodyTooLarge) and error.most_bytes == MAX_PAYLOAD_BYTES:
        error = payload_too_large()
    shown = printed(error, words, version)
    status = status or HTTP_STATUS[shown.code]
    shape = render_error(shown, status, first_format=wants_first_error_format(head))
    return json_answer(status, shape, pretty=wants_pretty(head), headers=_headers(error))


def _headers(error: TuningforkError) -> Mapping[str, str]:
    """The headers that an error has besides its body (RFC 6750 section 3, RFC 9110 section 10.2.3)."""
    match error:
        case ScopeInsufficient(scopes=scopes):
            return {"www-authenticate": f'{_BEARER}, error="insufficient_scope", scope="{" ".join(scopes)}"'}
        case TokenNotValid():
            return {"www-authenticate": f'{_BEARER}, error="invalid_token"'}
        case QuotaExceeded(retry_seconds=seconds) | Busy(retry_seconds=seconds) | TooManyTries(retry_seconds=seconds):
            return {"retry-after": str(seconds)}
        case _:
            return {}
