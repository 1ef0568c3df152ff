"""Errors as gRPC tells them: a status code, a message, and google.rpc.Status with the details in the trailers."""

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote

import grpc
from google.rpc.error_details_pb2 import BadRequest
from google.rpc.status_pb2 import Status

from tuningfork.dialect.faults import told
from tuningfork.domain.errors import RpcCode
from tuningfork.grpc_server.messages import message_of
from tuningfork.wire.errors import render_error

DETAILS = "grpc-status-details-bin"

# Clients take 8 KiB of trailers and may drop the whole answer beyond. The message is in them twice, percent-encoded
# by itself and plain in the details, and the details in base64, which makes three bytes four.
_MOST_MESSAGE_BYTES = 2_400
_PLAIN = "".join(map(chr, range(0x20, 0x7F))).replace("%", "")
"""What a status message holds unencoded (gRPC over HTTP/2, "Responses")."""
_MOST_STATUS_BYTES = 3_900

_CODES: Mapping[RpcCode, grpc.StatusCode] = {code: grpc.StatusCode[code.name] for code in RpcCode}


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """What ends an rpc that failed."""

    code: grpc.StatusCode
    message: str
    trailers: tuple[tuple[str, bytes], ...]


def refusal_of(error: Exception) -> Refusal:
    """How any exception is told. Long messages and long lists of violations lose their ends."""
    known = told(error)
    message = _fitting(known.message)
    details = render_error(known)["error"].get("details", [])
    status = message_of(Status.DESCRIPTOR.full_name, {"code": int(known.code), "message": message, "details": details})
    assert isinstance(status, Status)  # noqa: S101 - found by its own name
    _shorten(status)
    return Refusal(code=_CODES[known.code], message=message, trailers=((DETAILS, status.SerializeToString()),))


def _fitting(message: str) -> str:
    """As much of a message as fits into its header."""
    if len(quote(message, _PLAIN)) <= _MOST_MESSAGE_BYTES:
        return message
    shown = message[:_MOST_MESSAGE_BYTES]
    while len(quote(shown, _PLAIN)) > _MOST_MESSAGE_BYTES:
        shown = shown[: len(shown) * 9 // 10]
    return f"{shown}..."


def _shorten(status: Status) -> None:
    """Drop the last violations, then the last details, until the rest fits."""
    while status.ByteSize() > _MOST_STATUS_BYTES:
        last = status.details[-1]
        request = BadRequest()
        if last.Unpack(request) and len(request.field_violations) > 1:
            del request.field_violations[-1]
            last.Pack(request)
        else:
            del status.details[-1]
