"""The table of rpcs, against Google's own descriptors and the methods of the dialect."""

from dataclasses import fields

import pytest
from google.protobuf import descriptor_pool

from tuningfork.dialect.gemini.methods import GeminiMethod
from tuningfork.dialect.gemini.table import UseCases, bindings
from tuningfork.domain.errors import InvalidArgument
from tuningfork.grpc_server import messages
from tuningfork.grpc_server.rpcs import RPCS, WHOLE, addresses, find_address

BINDINGS = bindings(UseCases(**{field.name: None for field in fields(UseCases)}))
ADDRESSES = addresses(BINDINGS)
BY_METHOD = {rpc.method: rpc for rpc in RPCS}
NO_RPC = {GeminiMethod.CANCEL_TUNED_MODEL}
"""Methods that SDKs send over HTTP and no interface definition has."""


def field_type(message, names):
    for name in names:
        field = message.fields_by_name[name]
        message = field.message_type
    return field


@pytest.mark.parametrize("rpc", RPCS, ids=lambda rpc: rpc.method.name)
def test_every_row_speaks_of_fields_that_its_request_has(rpc):
    assert messages  # registers the descriptors
    request = descriptor_pool.Default().FindMessageTypeByName(rpc.request)

    if rpc.path_field:
        assert field_type(request, rpc.path_field).type == field_type(request, rpc.path_field).TYPE_STRING
    if rpc.body not in ("", WHOLE):
        assert request.fields_by_name[rpc.body].message_type is not None


def test_every_method_that_is_bound_is_served_and_every_row_is_bound():
    assert {binding.method for binding in BINDINGS} - NO_RPC == set(BY_METHOD)


@pytest.mark.parametrize(
    ("method", "name", "ids"),
    [
        (GeminiMethod.LIST_MODELS, "", {}),
        (GeminiMethod.GET_MODEL, "models/echo-001", {"model": "echo-001"}),
        (GeminiMethod.GENERATE_CONTENT, "models/echo-001", {"model": "echo-001"}),
        (GeminiMethod.GENERATE_CONTENT, "tunedModels/x", {"tuned_model": "x"}),
        (GeminiMethod.GET_OPERATION, "tunedModels/x/operations/y", {"tuned_model": "x", "operation": "y"}),
        (GeminiMethod.CREATE_PERMISSION, "tunedModels/x", {"tuned_model": "x"}),
        (GeminiMethod.GET_PERMISSION, "tunedModels/x/permissions/y", {"tuned_model": "x", "permission": "y"}),
    ],
)
def test_a_name_leads_to_the_binding_with_its_ids(method, name, ids):
    binding, found = find_address(BY_METHOD[method], ADDRESSES[method], name)

    assert (binding.method, found) == (method, ids)


@pytest.mark.parametrize("name", ["", "x", "models/x", "tunedModels/", "tunedModels/x:cancel", "tunedModels/x/y", "\0"])
def test_another_name_is_refused(name):
    with pytest.raises(InvalidArgument, match=r"write tunedModels/{tuned_model}$"):
        find_address(BY_METHOD[GeminiMethod.GET_TUNED_MODEL], ADDRESSES[GeminiMethod.GET_TUNED_MODEL], name)
