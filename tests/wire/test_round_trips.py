"""Every message that the tables state, there and back, with Google's own generated classes on the other side.

What we print, they read, and print again as the very same JSON; what they print in either spelling, we read as the
very same fields. Their classes come with `google-ai-generativelanguage` and know nothing of our tables.
"""

import importlib
import json
import re
import struct
from datetime import UTC, datetime

import pytest
from google.longrunning import operations_pb2  # noqa: F401 - fills the pool
from google.protobuf import descriptor_pool, json_format, message_factory
from google.rpc import error_details_pb2, status_pb2  # noqa: F401 - fills the pool
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import compatibility_docs as docs
from exploring import often
from tuningfork.wire.google import errors
from tuningfork.wire.google.proto_json.decode import decode
from tuningfork.wire.google.proto_json.descriptors import Enum, Kind, Message, Rule
from tuningfork.wire.google.proto_json.encode import encode
from tuningfork.wire.google.proto_json.text import read, write

importlib.import_module("google.ai.generativelanguage_v1beta")
importlib.import_module("google.ai.generativelanguage_v1alpha")

TABLES = {
    message.full_name: message
    for message in (*docs.messages().values(), *(each for each in vars(errors).values() if isinstance(each, Message)))
}
MAX_DEPTH = 4
UNSET = (Kind.JSON, Kind.ANY, Kind.FIELD_MASK)
"""What is left unread, or only read."""

TEXTS = st.text(st.characters(codec="utf-8"), max_size=8)
# Their reader refuses the largest float of all when it is written in its nine digits.
FLOATS = st.floats(-(2.0**127), 2.0**127, width=32, allow_nan=False)
WELL_KNOWN = {"google.protobuf.Duration": st.sampled_from(["57s", "1s"])}
"""Messages whose JSON form is a string, and which our tables state as one."""
SCALARS = {
    Kind.STRING: TEXTS,
    Kind.BOOL: st.booleans(),
    Kind.INT32: st.integers(-(2**31), 2**31 - 1),
    Kind.INT64: st.integers(-(2**63), 2**63 - 1),
    Kind.FLOAT: FLOATS,
    Kind.DOUBLE: st.floats(allow_nan=False, allow_infinity=False),
    Kind.BYTES: st.binary(max_size=8),
    Kind.TIMESTAMP: st.datetimes(datetime(1970, 1, 1), datetime(9999, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
}


def single(kind, depth):
    if isinstance(kind, Message):
        return fields_of(kind, depth + 1)
    if isinstance(kind, Enum):
        return st.sampled_from(sorted(kind.numbers))
    return SCALARS[kind]


@st.composite
def fields_of(draw, message, depth=0):
    """Fields of a message, each set or not, at most one of each oneof."""
    chosen, oneofs = {}, set()
    for field in message.fields:
        too_deep = isinstance(field.type, Message) and depth >= MAX_DEPTH
        if too_deep or field.type in UNSET or field.oneof in oneofs or not draw(st.booleans()):
            continue
        if field.oneof:
            oneofs.add(field.oneof)
        known = WELL_KNOWN.get(type_of_theirs(message, field))
        value = single(field.type, depth) if known is None else known
        if field.keyed:
            value = st.dictionaries(TEXTS, value, min_size=1, max_size=2)
        chosen[field.name] = draw(st.lists(value, min_size=1, max_size=2) if field.repeated else value)
    return chosen


def theirs(message):
    return message_factory.GetMessageClass(descriptor_of(message))()


def descriptor_of(message):
    return descriptor_pool.Default().FindMessageTypeByName(message.full_name)


def type_of_theirs(message, field):
    inner = next(each for each in descriptor_of(message).fields if each.number == field.number).message_type
    return inner.full_name if inner else ""


def read_back(message, fields):
    """What comes back from a reader: output-only fields are passed over, defaults without presence are not sent."""
    back = {}
    for field in message.fields:
        if field.name not in fields or field.rule is not Rule.BOTH_WAYS:
            continue
        value = fields[field.name]
        if field.keyed:
            back[field.name] = {key: read_back(field.type, each) for key, each in value.items()}
        elif isinstance(field.type, Message):
            inner = [read_back(field.type, each) for each in (value if field.repeated else [value])]
            back[field.name] = inner if field.repeated else inner[0]
        elif field.repeated or field.has_presence or not is_default(field, value):
            back[field.name] = value
    return back


def is_default(field, value):
    if isinstance(field.type, Enum):
        return field.type.numbers[value] == 0
    return value in (0, "", b"") and str(value) != "-0.0"


def same(value):
    """With floats as their 32 bits, minus zero told from zero."""
    if isinstance(value, dict):
        return {key: same(each) for key, each in value.items()}
    if isinstance(value, list):
        return [same(each) for each in value]
    return struct.pack("<f", value) if isinstance(value, float) and abs(value) < 3.4e38 else value


@pytest.mark.parametrize("name", sorted(TABLES))
@settings(max_examples=often(40), deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_what_we_print_they_print_and_what_they_print_we_read(name, data):
    message = TABLES[name]
    fields = data.draw(fields_of(message))
    ours = json.loads(write(encode(message, fields)))

    read_by_them = json_format.Parse(json.dumps(ours), theirs(message))
    assert json.loads(json_format.MessageToJson(read_by_them)) == ours

    for spelling in (False, True):
        text = json_format.MessageToJson(read_by_them, preserving_proto_field_name=spelling)
        # Their classes put an underscore behind names that mean something in Python.
        text = re.sub(r'"(type|format)_":', r'"\1":', text)
        assert same(decode(message, read(text.encode()))) == same(read_back(message, fields))


@pytest.mark.parametrize("name", sorted(TABLES))
@settings(max_examples=often(20), deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_enums_as_numbers_are_theirs_too(name, data):
    message = TABLES[name]
    ours = encode(message, data.draw(fields_of(message)), enums_as_numbers=True)

    read_by_them = json_format.Parse(json.dumps(ours), theirs(message))

    printed = json_format.MessageToDict(read_by_them, use_integers_for_enums=True)
    assert json.loads(json.dumps(printed)) == json.loads(json.dumps(ours))
