"""Converts protobuf messages to the JSON that the methods read, and the methods' answers to protobuf messages.

The messages are those of Google's Python package. Fields that the package does not know, such as those of newer
clients, are ignored, as is usual with protobuf.
"""

import json
from collections.abc import Mapping
from typing import Any

# These imports register the messages, which are then found by their full names.
import google.ai.generativelanguage_v1beta  # noqa: F401
from google.longrunning import operations_pb2  # noqa: F401
from google.protobuf import descriptor_pool, json_format, message_factory
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import DecodeError, Message
from google.rpc import error_details_pb2, status_pb2  # noqa: F401

from tuningfork.domain.errors import InvalidArgument
from tuningfork.grpc_server.rpcs import WHOLE, Rpc
from tuningfork.wire.google.proto_json.encode import Typed, encode

_MISNAMED = {"responseJsonSchema": "_responseJsonSchema", "responseJsonSchemaOrdered": "responseJsonSchema"}
"""The package lacks the JSON names that generative_service.proto gives two fields (GenerationConfig, 24 and 28)."""


def parse_request(rpc: Rpc, request: bytes) -> Message:
    """The request message of an rpc.

    Raises:
        InvalidArgument: the bytes are not such a message.

    """
    message = _message_class(rpc.request)()
    try:
        message.ParseFromString(request)
    except DecodeError as error:
        raise InvalidArgument(f"The request cannot be read as {rpc.request}: {error}.") from error
    return message


def path_value(rpc: Rpc, request: Message) -> str:
    """The value of the field that is in the path; "" if the rpc has no such field, or it is not set."""
    value: Any = request
    for name in rpc.path_field:
        value = getattr(value, name)
    return value if isinstance(value, str) else ""


def query_of(rpc: Rpc, request: Message) -> Mapping[str, str]:
    """The fields of a request that are neither in the path nor in the body, as query parameters."""
    if rpc.body == WHOLE:
        return {}
    elsewhere = {rpc.body, *rpc.path_field[:1]}
    return {field.name: _text(value) for field, value in request.ListFields() if field.name not in elsewhere}


def body_of(rpc: Rpc, request: Message) -> bytes:
    """The body that the request would have over HTTP, with sorted keys.

    Raises:
        InvalidArgument: a value has no JSON form, such as NaN among the arguments of a function.

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
    # The keys of an answer have the order of its schema's properties, and protobuf's maps have a different order in
    # each process, so keys are sorted.
    return json.dumps(fields, ensure_ascii=False, allow_nan=False, sort_keys=True).encode()


def answer_bytes(answer: Typed) -> bytes:
    """An answer as a serialized protobuf message."""
    # Enums are passed as numbers, since the package may have no name for a value.
    fields = encode(answer.message, answer.fields, enums_as_numbers=True)
    return message_of(answer.message.full_name, fields).SerializeToString()


def message_of(full_name: str, fields: Mapping[str, Any]) -> Message:
    """The protobuf message with this full name, from JSON. Fields that the installed package lacks are left out."""
    return json_format.ParseDict(dict(fields), _message_class(full_name)(), ignore_unknown_fields=True)


def _message_class(full_name: str) -> type[Message]:
    return message_factory.GetMessageClass(descriptor_pool.Default().FindMessageTypeByName(full_name))


def _text(value: Any) -> str:
    if isinstance(value, FieldMask):
        return ",".join(value.paths)
    return str(value).lower() if isinstance(value, bool) else str(value)
