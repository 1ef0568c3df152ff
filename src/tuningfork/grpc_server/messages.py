"""Protobuf messages to the JSON that the dialect's methods read, and their answers to protobuf messages.

The messages are those of Google's own package. Its names decide what a request may hold; what a newer client sends
beyond them is passed over, as protobuf asks.
"""

import json
from collections.abc import Mapping
from typing import Any

# Imported for what it registers: every message below is found by its full name.
import google.ai.generativelanguage_v1beta  # noqa: F401
from google.longrunning import operations_pb2  # noqa: F401
from google.protobuf import descriptor_pool, json_format, message_factory
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import DecodeError, Message
from google.rpc import error_details_pb2, status_pb2  # noqa: F401

from tuningfork.domain.errors import InvalidArgument
from tuningfork.grpc_server.rpcs import WHOLE, Rpc
from tuningfork.wire.proto_json.encode import Typed, encode

_MISNAMED = {"responseJsonSchema": "_responseJsonSchema", "responseJsonSchemaOrdered": "responseJsonSchema"}
"""The package left out the two JSON names that generative_service.proto gives itself (GenerationConfig, 24 and 28)."""


def parse_request(rpc: Rpc, request: bytes) -> Message:
    """The request message of an rpc.

    Raises:
        InvalidArgument: the bytes are no such message.

    """
    message = _message_class(rpc.request)()
    try:
        message.ParseFromString(request)
    except DecodeError as error:
        raise InvalidArgument(f"The request cannot be read as {rpc.request}: {error}.") from error
    return message


def path_value(rpc: Rpc, request: Message) -> str:
    """The value of the field that is in the path; "" where there is none, or where it is not set."""
    value: Any = request
    for name in rpc.path_field:
        value = getattr(value, name)
    return value if isinstance(value, str) else ""


def query_of(rpc: Rpc, request: Message) -> Mapping[str, str]:
    """What is left of a request beside path and body, as the text that a URL would have."""
    if rpc.body == WHOLE:
        return {}
    elsewhere = {rpc.body, *rpc.path_field[:1]}
    return {field.name: _text(value) for field, value in request.ListFields() if field.name not in elsewhere}


def body_of(rpc: Rpc, request: Message) -> bytes:
    """The body that a request would have over HTTP, with all names sorted.

    Raises:
        InvalidArgument: a value in it has no JSON form, such as NaN among the arguments of a function.

    """
    if not rpc.body:
        return b""
    body = request if rpc.body == WHOLE else getattr(request, rpc.body)
    try:
        fields = json_format.MessageToDict(body)
    except (json_format.Error, ValueError, TypeError) as error:
        raise InvalidArgument(f"The request has a value without a JSON form: {error}.") from error
    if rpc.body == WHOLE:
        for name in rpc.path_field[:1]:
            fields.pop(name, None)
    for holder in (fields, fields.get("generateContentRequest", {})):
        if "generationConfig" in holder:
            holder["generationConfig"] = {
                _MISNAMED.get(name, name): value for name, value in holder["generationConfig"].items()
            }
    # Protobuf's maps have another order in each process, and an answer's keys come in that of its schema's properties.
    return json.dumps(fields, ensure_ascii=False, allow_nan=False, sort_keys=True).encode()


def answer_bytes(answer: Typed) -> bytes:
    """An answer of the dialect as the message of its name."""
    # Numbers keep a value that the package has no name for.
    fields = encode(answer.message, answer.fields, enums_as_numbers=True)
    return message_of(answer.message.full_name, fields).SerializeToString()


def message_of(full_name: str, fields: Mapping[str, Any]) -> Message:
    """The message of a name from its JSON form. What the installed package does not know yet is left out."""
    return json_format.ParseDict(dict(fields), _message_class(full_name)(), ignore_unknown_fields=True)


def _message_class(full_name: str) -> type[Message]:
    return message_factory.GetMessageClass(descriptor_pool.Default().FindMessageTypeByName(full_name))


def _text(value: Any) -> str:
    if isinstance(value, FieldMask):
        return ",".join(value.paths)
    return str(value).lower() if isinstance(value, bool) else str(value)
