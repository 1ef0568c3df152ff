"""The message tables against the published discovery document (tests/data/vertex/serving_messages.json)."""

import json
import re
from pathlib import Path

import pytest

from tuningfork.wire.google import content_messages
from tuningfork.wire.google.proto_json.descriptors import Enum, Kind, Message
from tuningfork.wire.vertex import generation_messages, metrics_messages, registry_messages

DATA = Path(__file__).parents[1] / "data" / "vertex" / "serving_messages.json"
PUBLISHED = json.loads(DATA.read_text(encoding="utf-8"))["messages"]
TABLES = {
    table.full_name.replace(".", ""): table
    # The last one counts: Vertex has tables of its own of some messages that the APIs share.
    for module in (content_messages, generation_messages, metrics_messages, registry_messages)
    for table in vars(module).values()
    if isinstance(table, Message)
}
ONLY_IN_V1 = {"dataStats", "pipelineJob"}
"""Fields of a Model that v1beta1, from which the data was taken, does not have."""
IN_THE_PATH = {"model", "endpoint", "name", "tensorboard"}
"""What a path names is a field of some requests, and not of the bodies that the document describes."""
WHOLE = (
    *("GenerateContentRequest", "GenerationConfigThinkingConfig", "Schema", "SafetySetting"),
    *("CountTokensRequest", "ComputeTokensRequest", "MergeVersionAliasesRequest", "UndeployModelRequest"),
    "DeployModelRequest",
)
"""Requests, or parts of them, all of whose fields are known: an unknown one is refused without saying why."""
SCALARS = {
    "string": {Kind.STRING},
    "string/byte": {Kind.BYTES},
    "string/int64": {Kind.INT64},
    "string/google-datetime": {Kind.TIMESTAMP},
    "integer/int32": {Kind.INT32},
    "number/float": {Kind.FLOAT},
    "number/double": {Kind.DOUBLE},
    "boolean": {Kind.BOOL},
    "any": {Kind.JSON},
    "object": {Kind.JSON},
}


@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_every_field_of_a_table_is_published_with_its_type(name):
    published = PUBLISHED[name]

    for field in TABLES[name].fields:
        if field.json_name not in published:
            assert field.name in IN_THE_PATH or field.json_name in ONLY_IN_V1, field.json_name
            continue
        said = published[field.json_name]
        inner = re.fullmatch(r"\[(.*)\]|map<(.*)>", said)
        assert bool(inner and said[0] == "[") == field.repeated, field.json_name
        assert said.startswith("map<") == field.keyed, field.json_name
        assert is_of(field.type, next(each for each in inner.groups() if each) if inner else said), field.json_name


@pytest.mark.parametrize("name", WHOLE)
def test_requests_know_every_published_field(name):
    known = {field.json_name for field in TABLES[name].fields}

    assert set(PUBLISHED[name]) - known == set()


def test_settings_of_generation_know_every_published_field():
    known = {field.json_name for field in TABLES["GenerationConfig"].fields}

    assert set(PUBLISHED["GenerationConfig"]) == known


def is_of(kind, said):
    """Whether a table's type is the published one. What is passed over as a whole has no type of its own."""
    if kind is Kind.JSON:
        return True
    if isinstance(kind, Enum):
        return said == "string" or set(kind.numbers) <= set(said.removeprefix("enum ").split("|"))
    if isinstance(kind, Message):
        return kind.full_name.replace(".", "") == said
    return kind in SCALARS.get(said, {Kind.STRING} if said.startswith("enum ") else set())
