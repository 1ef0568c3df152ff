"""Parses requests for the files of adapters."""

from collections.abc import Mapping

from tuningfork.domain.errors import FieldViolation
from tuningfork.wire.google.proto_json.decode import decode_query
from tuningfork.wire.google.proto_json.descriptors import Field, Kind, Message
from tuningfork.wire.google.requests import refused

_REQUEST = "ExportAdapterRequest"
MOST_NAME_CHARACTERS = 1_000

EXPORT_QUERY = Message(f"tuningfork.v1.{_REQUEST}", (Field(1, "base_name", Kind.STRING),))


def parse_export(query: Mapping[str, str]) -> str:
    """What the adapter is to call its base; "": the server decides.

    Raises:
        InvalidArgument: the name is too long or has characters that cannot be printed, or a parameter is unknown.

    """
    name: str = decode_query(EXPORT_QUERY, query).get("base_name", "")
    if len(name) > MOST_NAME_CHARACTERS or not name.isprintable():
        described = f"base_name must be printable and have at most {MOST_NAME_CHARACTERS:,} characters"
        raise refused(_REQUEST, (FieldViolation(field="base_name", description=described),))
    return name
