"""Checks that the query of a method without parameters is empty, and renders the empty answer."""

from collections.abc import Mapping

from tuningfork.wire.google.proto_json.decode import decode_query
from tuningfork.wire.google.proto_json.descriptors import Message
from tuningfork.wire.google.proto_json.encode import Typed

EMPTY = Message("google.protobuf.Empty", ())


def refuse_query(query: Mapping[str, str]) -> None:
    """Check that the query of a method without parameters is empty.

    Raises:
        InvalidArgument: the query has parameters; the error names each.

    """
    decode_query(EMPTY, query)


def render_empty() -> Typed:
    """The answer `{}`."""
    return Typed(EMPTY, {})
