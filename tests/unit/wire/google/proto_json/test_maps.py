"""Maps, and messages that hold others of their own kind."""

import pytest

from tuningfork.domain.errors import InvalidArgument
from tuningfork.wire.google.proto_json.decode import decode
from tuningfork.wire.google.proto_json.descriptors import SELF, Field, Kind, Message
from tuningfork.wire.google.proto_json.encode import encode
from tuningfork.wire.google.proto_json.text import read

TREE = Message(
    "test.Tree",
    (
        Field(1, "some_text", Kind.STRING),
        Field(2, "branches", SELF, keyed=True),
        Field(3, "trunk", SELF),
        Field(4, "roots", SELF, repeated=True),
        Field(5, "sizes", Kind.INT64, keyed=True),
    ),
)


def faults(body):
    with pytest.raises(InvalidArgument) as caught:
        decode(TREE, read(body))
    return [(each.field, each.description) for each in caught.value.violations]


def test_a_message_may_hold_others_of_its_kind_in_every_way():
    body = b'{"trunk": {"someText": "t"}, "roots": [{"some_text": "r"}], "branches": {"b": {"trunk": {}}}}'

    assert decode(TREE, read(body)) == {
        "trunk": {"some_text": "t"},
        "roots": [{"some_text": "r"}],
        "branches": {"b": {"trunk": {}}},
    }


def test_the_keys_of_a_map_are_kept_as_they_are_and_in_their_order():
    assert list(decode(TREE, read(b'{"sizes": {"z_z": 1, "aA": "2", "": 3}}'))["sizes"].items()) == [
        ("z_z", 1),
        ("aA", 2),
        ("", 3),
    ]


def test_a_fault_in_a_map_is_found_by_the_place_of_its_entry():
    body = b'{"branches": {"a": {}, "b": {"branches": {"c": {"someText": 1}}}}}'

    assert faults(body) == [
        (
            "branches[1].value.branches[0].value.some_text",
            "Invalid value at 'branches[1].value.branches[0].value.some_text' (TYPE_STRING), 1",
        )
    ]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b'{"branches": []}', "(Map), Cannot bind a list to map for field 'branches'."),
        (b'{"branches": "x"}', '(Map), "x"'),
        (b'{"branches": {"a": {}, "a": {}}}', '(Map), Repeated map key: "a" is already set.'),
    ],
)
def test_what_is_no_map_is_told(body, said):
    assert faults(body) == [("branches", f"Invalid value at 'branches' {said}")]


def test_an_entry_without_a_value_is_told():
    assert faults(b'{"branches": {"a": null}}')[0][0] == "branches[0].value"


def test_maps_are_printed_as_objects_and_left_out_when_empty():
    assert encode(TREE, {"sizes": {"a_b": 5}, "branches": {"c": {"some_text": "x"}}}) == {
        "branches": {"c": {"someText": "x"}},
        "sizes": {"a_b": "5"},
    }
    assert encode(TREE, {"sizes": {}, "branches": {}}) == {}


def test_a_message_of_its_own_kind_can_be_shown():
    assert "test.Tree" in repr(TREE)
