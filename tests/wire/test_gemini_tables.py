"""The message tables against the published interface definitions (tests/data/gemini/schema*.json)."""

import json
from pathlib import Path

import pytest

from compatibility_docs import tables
from tuningfork.wire.google import errors
from tuningfork.wire.google.proto_json.descriptors import Enum, Kind, Message, Rule

DATA = Path(__file__).parents[1] / "data" / "gemini"
PUBLISHED = json.loads((DATA / "schema.json").read_text(encoding="utf-8"))
# What v1alpha alone has, and what holds it.
PUBLISHED["messages"] |= json.loads((DATA / "schema-v1alpha.json").read_text(encoding="utf-8"))["messages"]
TABLES = [*tables(), *vars(errors).values()]
MESSAGES = {table.full_name: table for table in TABLES if isinstance(table, Message) and table.fields}
ENUMS = {table.full_name: table for table in TABLES if isinstance(table, Enum)}

KIND_OF = {
    "string": Kind.STRING,
    "bool": Kind.BOOL,
    "int32": Kind.INT32,
    "int64": Kind.INT64,
    "float": Kind.FLOAT,
    "double": Kind.DOUBLE,
    "bytes": Kind.BYTES,
    "google.protobuf.Timestamp": Kind.TIMESTAMP,
    "google.protobuf.FieldMask": Kind.FIELD_MASK,
    "google.protobuf.Any": Kind.ANY,
}

NOT_STATED = {
    # Neither the body of a request nor what its path names is a parameter of its query.
    "google.ai.generativelanguage.v1beta.CreateTunedModelRequest": {"tuned_model"},
    "google.ai.generativelanguage.v1beta.ListPermissionsRequest": {"parent"},
    "google.ai.generativelanguage.v1beta.UpdatePermissionRequest": {"permission"},
    "google.ai.generativelanguage.v1beta.UpdateTunedModelRequest": {"tuned_model"},
    "google.longrunning.ListOperationsRequest": {"name"},
    # Younger than the error bodies that were seen.
    "google.rpc.BadRequest.FieldViolation": {"reason", "localized_message"},
    # Never part of the service's answers.
    "google.rpc.QuotaFailure.Violation": {"subject", "description", "api_service", "future_quota_value"},
}


def rule_of(behaviors):
    if "OUTPUT_ONLY" in behaviors:
        return Rule.OUTPUT_ONLY
    return Rule.INPUT_ONLY if "INPUT_ONLY" in behaviors else Rule.BOTH_WAYS


@pytest.mark.parametrize("name", sorted(MESSAGES))
def test_every_field_is_as_published(name):
    published = {field["name"]: field for field in PUBLISHED["messages"][name]["fields"]}
    stated = {field.name: field for field in MESSAGES[name].fields}

    assert set(stated) == set(published) - NOT_STATED.get(name, set())
    for field_name, field in stated.items():
        source = published[field_name]
        assert field.number == source["number"], field_name
        assert field.json_name == source["jsonName"], field_name
        assert field.repeated == (source.get("repeated", False) and not is_map(source["type"])), field_name
        assert field.oneof == source.get("oneof"), field_name
        assert field.rule is rule_of(source.get("behavior", [])), field_name
        assert_type(field, source)
        if isinstance(field.type, Kind) and field.type in KIND_OF.values():
            assert field.presence == source.get("explicitPresence", False), field_name


def is_map(type_name):
    return type_name.endswith("Entry")


def assert_type(field, source):
    if field.type is Kind.JSON:
        # Left unread as a whole, so it must be a message.
        assert source["type"] not in KIND_OF, field.name
    elif isinstance(field.type, Kind):
        assert field.type is KIND_OF[source["type"]], field.name
    elif field.keyed:
        assert is_map(source["type"]), field.name
    else:
        assert field.type.full_name == source["type"], field.name


@pytest.mark.parametrize("name", sorted(ENUMS))
def test_every_enum_value_is_as_published(name):
    assert ENUMS[name].numbers == PUBLISHED["enums"][name]


def test_the_published_definitions_hold_nothing_that_the_tables_have_forgotten():
    assert set(PUBLISHED["messages"]) == set(MESSAGES)
    assert set(PUBLISHED["enums"]) == set(ENUMS)
