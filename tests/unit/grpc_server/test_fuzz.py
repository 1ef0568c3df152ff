"""Requests that no program would send: every one is answered, and none is a fault of the server."""

import random
from dataclasses import fields

import grpc
import pytest
from google.protobuf import descriptor_pool, message_factory
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from patience import PATIENCE_SECONDS
from tuningfork.dialect.gemini.table import UseCases, bindings
from tuningfork.grpc_server.rpcs import RPCS, addresses
from tuningfork.wire.gemini.names import tuned_name
from workshop import ADA, number_request

ADDRESSES = addresses(bindings(UseCases(**{field.name: None for field in fields(UseCases)})))
REQUESTS = 60
FAULTS_OF_OURS = {grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN}
NAMES = ("models/echo-001", "tunedModels/numbers", "tunedModels/none", "")
# The first value of each kind is one that most fields can hold.
TEXTS = (
    *("user", "bob@example.com", "role", "display_name", "owner:me", "models/echo-001"),
    *("x" * 50, "a:b/c", "é数😀", "\0", "1", "[", '{"a": ', ""),
)
NUMBERS = (1, 0, -1, 2, 99, 2**31 - 1, -(2**31))
FLOATS = (0.5, 0.0, -0.0, 2.5, -1.0, 1e30, float("inf"), float("-inf"), float("nan"))
VALUES = {
    FieldDescriptor.CPPTYPE_STRING: TEXTS,
    FieldDescriptor.CPPTYPE_INT32: NUMBERS,
    FieldDescriptor.CPPTYPE_INT64: (*NUMBERS, 2**63 - 1, -(2**63)),
    FieldDescriptor.CPPTYPE_FLOAT: FLOATS,
    FieldDescriptor.CPPTYPE_DOUBLE: FLOATS,
    FieldDescriptor.CPPTYPE_BOOL: (True, False),
    FieldDescriptor.CPPTYPE_ENUM: (1, *range(12), 77),
}


class Inventor:
    """Fills messages with whatever their fields can hold."""

    def __init__(self, seed, names):
        self._random = random.Random(seed)
        self._names = names

    def message(self, descriptor, depth=0):
        message = message_factory.GetMessageClass(descriptor)()
        # Some are full of nonsense, most have a few things wrong, or nothing.
        share = self._random.choice((0.2, 0.4, 0.9))
        for field in descriptor.fields:
            if field.name in {"name", "model", "parent"} or self._random.random() < share:
                self._fill(message, field, depth)
        return message

    def _fill(self, message, field, depth):
        held = getattr(message, field.name)
        if field.cpp_type != FieldDescriptor.CPPTYPE_MESSAGE:
            value = self._value(field)
            held.append(value) if hasattr(held, "append") else setattr(message, field.name, value)
        elif depth < 6 and not field.message_type.GetOptions().map_entry:
            invented = self.message(field.message_type, depth + 1)
            held.CopyFrom(invented) if isinstance(held, Message) else held.append(invented)

    def _value(self, field):
        if field.name in {"name", "model", "parent"}:
            return self._random.choice(self._names if self._random.random() < 0.9 else NAMES)
        if field.type == FieldDescriptor.TYPE_BYTES:
            return self._random.choice((b"", b"\0\xff"))
        usual, *others = VALUES[field.cpp_type]
        return usual if self._random.random() < 0.7 else self._random.choice(others)

    def damaged(self, content):
        """The bytes with one of them changed, or the end missing."""
        at = self._random.randrange(len(content) + 1)
        return self._random.choice([content[:at], content[:at] + b"\xff" + content[at + 1 :]])


@pytest.fixture
def names(workshop, ada):
    """Names of what there is: a tuned model, its permission, its operation."""
    tuned = workshop.tuning.create(ADA, number_request(tuned_model_id="numbers"))
    workshop.advance()
    [permission] = ada.permissions.list_permissions(parent=tuned_name(tuned.model.id))
    return (*NAMES[:2], permission.name, f"{tuned_name(tuned.model.id)}/operations/{tuned.job.id}")


@pytest.mark.parametrize("rpc", RPCS, ids=lambda rpc: rpc.method.name)
def test_every_request_is_answered(ada, rpc, names, caplog):
    service, _, name = rpc.method.full_name.rpartition(".")
    call = ada.channel.unary_stream(f"/{service}/{name}")
    forms = [address.form for address in ADDRESSES[rpc.method]]
    fitting = [each for each in names if any(form.fullmatch(rpc.path_of(each)) for form in forms)]
    inventor = Inventor(name, fitting or NAMES)
    descriptor = descriptor_pool.Default().FindMessageTypeByName(rpc.request)
    codes = {}
    for number in range(REQUESTS):
        content = inventor.message(descriptor).SerializePartialToString()
        try:
            list(call(inventor.damaged(content) if number % 4 == 0 else content, timeout=PATIENCE_SECONDS))
            code = grpc.StatusCode.OK
        except grpc.RpcError as error:
            code = error.code()
        codes.setdefault(code, []).append(content)

    assert {code: requests for code, requests in codes.items() if code in FAULTS_OF_OURS} == {}
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == []
    assert grpc.StatusCode.DEADLINE_EXCEEDED not in codes
