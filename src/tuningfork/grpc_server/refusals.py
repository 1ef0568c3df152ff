"""Converts errors to gRPC's: a status code, a message, and google.rpc.Status with the details in the trailers."""

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote

import grpc
from google.rpc.error_details_pb2 import BadRequest
from google.rpc.status_pb2 import Status

from tuningfork.dialect.faults import public_error
from tuningfork.domain.errors import Code
from tuningfork.grpc_server.messages import message_of
from tuningfork.wire.google.errors import NUMBERS, ErrorWords, Printed, printed, render_error

DETAILS = "grpc-status-details-bin"

# Clients accept 8 KiB of trailers, and may drop the whole answer if there are more. The trailers have the message
# twice: percent-encoded, and again in the details, which are in base64 (four bytes for three).
_MOST_MESSAGE_BYTES = 2_400
_PLAIN = "".join(map(chr, range(0x20, 0x7F))).replace("%", "")
"""The characters that a status message has unencoded (gRPC over HTTP/2, "Responses")."""
_MOST_STATUS_BYTES = 3_900

_CODES: Mapping[Code, grpc.StatusCode] = {code: grpc.StatusCode[code.name] for code in Code}


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """The status, message and trailers with which a failed rpc ends."""

    code: grpc.StatusCode
    message: str
    trailers: tuple[tuple[str, bytes], ...]


def refusal_of(error: Exception, words: ErrorWords, version: str | None = None) -> Refusal:
    """The refusal for any exception, for a caller of this API version. None: the API's usual version."""
    return refusal(printed(public_error(error), words, version))


def refusal(known: Printed) -> Refusal:
    """The refusal for an error. Long messages and long lists of violations are cut off at the end."""
    message = _fitting(known.message)
    details = render_error(known)["error"].get("details", [])
    status = message_of(
        Status.DESCRIPTOR.full_name, {"code": NUMBERS[known.code], "message": message, "details": details}
    )
    assert isinstance(status, Status)  # noqa: S101 - `message_of` was called with its name
    _shorten(status)
    return Refusal(code=_CODES[known.code], message=message, trailers=((DETAILS, status.SerializeToString()),))


def _fitting(message: str) -> str:
    """The message, cut off if it is too long for its header."""
    if len(quote(message, _PLAIN)) <= _MOST_MESSAGE_BYTES:
        return message
    shown = message[:_MOST_MESSAGE_BYTES]
    while len(quote(shown, _PLAIN)) > _MOST_MESSAGE_BYTES:
        shown = shown[: len(shown) * 9 // 10]
    return f"{shown}..."


def _shorten(status: Status) -> None:
    """Drop the last violations, then the last details, until the rest fits into the trailers."""
    while status.ByteSize() > _MOST_STATUS_BYTES:
        last = status.details[-1]
        request = BadRequest()
        if last.Unpack(request) and len(request.field_violations) > 1:
            del request.field_violations[-1]
            last.Pack(request)
        else:
            del status.details[-1]
