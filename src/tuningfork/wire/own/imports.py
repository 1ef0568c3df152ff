"""Parses requests for tuned models of adapters that were trained elsewhere."""

from collections.abc import Mapping

from tuningfork.domain.tuning_job import TuningRequest
from tuningfork.wire.google.proto_json.decode import decode_query
from tuningfork.wire.google.proto_json.descriptors import Field, Kind, Message
from tuningfork.wire.google.requests import RequestWords

IMPORT = RequestWords("ImportTunedModelRequest", method="createTunedModel")
"""The request's part of errors about an import."""

IMPORT_QUERY = Message(
    f"tuningfork.v1.{IMPORT.request}",
    (
        Field(1, "base_model", Kind.STRING),
        Field(2, "tuned_model_id", Kind.STRING, presence=True),
        Field(3, "display_name", Kind.STRING),
        Field(4, "description", Kind.STRING),
    ),
)


def parse_import(query: Mapping[str, str]) -> TuningRequest:
    """The base and the names of the new model.

    Raises:
        InvalidArgument: a parameter is unknown.

    """
    asked = decode_query(IMPORT_QUERY, query)
    return TuningRequest(
        base_model=asked.get("base_model", ""),
        tuned_model_id=asked.get("tuned_model_id") or None,
        display_name=asked.get("display_name", ""),
        description=asked.get("description", ""),
    )
