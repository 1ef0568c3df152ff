"""Parses requests to create a tuned model with what the Gemini API has no field for: the rank of its adapter."""

from collections.abc import Mapping
from dataclasses import replace

from tuningfork.domain.tuning_job import TuningRequest
from tuningfork.wire.gemini.tuning import parse_multiturn_create
from tuningfork.wire.google.proto_json.decode import decode_query
from tuningfork.wire.google.proto_json.descriptors import Field, Kind, Message
from tuningfork.wire.google.requests import RequestWords

CREATION_QUERY = Message(
    "tuningfork.v1.CreateTunedModelRequest", (Field(4, "adapter_rank", Kind.INT32, presence=True),)
)
"""The parameter that creating has here in addition to those of `CreateTunedModelRequest`."""

_OWN = {key for field in CREATION_QUERY.fields for key in (field.name, field.json_name)}


def parse_creation(body: bytes, query: Mapping[str, str]) -> tuple[TuningRequest, RequestWords]:
    """The request to tune, as `v1alpha` reads it, with the rank; and how faults of it are told.

    Raises:
        InvalidArgument: what the Gemini API's method refuses, or a rank that is no whole number.

    """
    own = {name: value for name, value in query.items() if name in _OWN}
    wanted, words = parse_multiturn_create(body, {name: value for name, value in query.items() if name not in own})
    return replace(wanted, adapter_rank=decode_query(CREATION_QUERY, own).get("adapter_rank")), words
