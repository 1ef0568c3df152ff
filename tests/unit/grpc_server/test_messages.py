"""Requests as HTTP would have them, and answers as messages."""

import json

import pytest
from google.ai import generativelanguage_v1beta as api
from google.longrunning import operations_pb2
from google.protobuf import struct_pb2
from google.protobuf.field_mask_pb2 import FieldMask

from tuningfork.dialect.gemini.methods import GeminiMethod
from tuningfork.domain.errors import InvalidArgument
from tuningfork.grpc_server.messages import answer_bytes, body_of, parse_request, path_value, query_of
from tuningfork.grpc_server.rpcs import RPCS
from tuningfork.wire.gemini import tuning_messages
from tuningfork.wire.google.proto_json.descriptors import Enum, Field, Kind, Message
from tuningfork.wire.google.proto_json.encode import Typed


def carried(method, request):
    """Path value, query and body of a request."""
    [rpc] = [rpc for rpc in RPCS if rpc.method is method]
    message = parse_request(rpc, type(request).serialize(request))
    body = body_of(rpc, message)
    return path_value(rpc, message), query_of(rpc, message), json.loads(body) if body else None


def test_what_is_no_path_and_no_body_is_the_query():
    request = api.ListTunedModelsRequest(page_size=5, page_token="next", filter="owner:me")

    assert carried(GeminiMethod.LIST_TUNED_MODELS, request) == (
        "",
        {"page_size": "5", "page_token": "next", "filter": "owner:me"},
        None,
    )


def test_a_mask_is_written_with_commas():
    request = api.UpdateTunedModelRequest(
        tuned_model=api.TunedModel(name="tunedModels/x", display_name="new"),
        update_mask=FieldMask(paths=["display_name", "temperature", "NotAField"]),
    )

    path, query, body = carried(GeminiMethod.UPDATE_TUNED_MODEL, request)

    assert path == "tunedModels/x"
    assert query == {"update_mask": "display_name,temperature,NotAField"}
    assert body == {"name": "tunedModels/x", "displayName": "new"}


def test_what_is_left_out_stays_out_and_what_is_set_to_zero_stays_in():
    task = api.TuningTask(hyperparameters=api.Hyperparameters(epoch_count=0))
    request = api.CreateTunedModelRequest(tuned_model=api.TunedModel(temperature=0.0, tuning_task=task))

    path, query, body = carried(GeminiMethod.CREATE_TUNED_MODEL, request)

    assert (path, query) == ("", {})
    assert body == {"temperature": 0.0, "tuningTask": {"hyperparameters": {"epochCount": 0}}}


def test_a_chosen_id_is_in_the_query_also_when_it_is_empty():
    assert carried(GeminiMethod.CREATE_TUNED_MODEL, api.CreateTunedModelRequest(tuned_model_id=""))[1] == {
        "tuned_model_id": ""
    }


def test_a_body_without_anything_is_an_empty_object():
    assert carried(GeminiMethod.CREATE_TUNED_MODEL, api.CreateTunedModelRequest()) == ("", {}, {})


def test_a_request_that_is_its_own_body_leaves_its_path_out():
    request = api.TransferOwnershipRequest(name="tunedModels/x", email_address="a@example.com")

    assert carried(GeminiMethod.TRANSFER_OWNERSHIP, request) == ("tunedModels/x", {}, {"emailAddress": "a@example.com"})


def test_bytes_large_numbers_and_enums_have_their_json_form():
    blob = api.Blob(mime_type="image/png", data=b"\x00\xff")
    setting = api.SafetySetting(category=api.HarmCategory.HARM_CATEGORY_HARASSMENT, threshold=4)
    request = api.GenerateContentRequest(
        model="models/x", contents=[api.Content(parts=[api.Part(inline_data=blob)])], safety_settings=[setting]
    )

    _, _, body = carried(GeminiMethod.GENERATE_CONTENT, request)

    assert body["contents"][0]["parts"][0]["inlineData"]["data"] == "AP8="
    assert body["safetySettings"] == [{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_NONE"}]


def test_schemas_keep_the_json_names_of_the_definition():
    schema = struct_pb2.Value(struct_value=struct_pb2.Struct())
    schema.struct_value["type"] = "string"
    config = api.GenerationConfig.pb()(response_json_schema_ordered=schema, response_json_schema=schema)
    request = api.GenerateContentRequest(model="models/x", generation_config=api.GenerationConfig.wrap(config))
    whole = api.CountTokensRequest(model="models/x", generate_content_request=request)

    _, _, body = carried(GeminiMethod.GENERATE_CONTENT, request)
    _, _, counted = carried(GeminiMethod.COUNT_TOKENS, whole)

    expected = {"_responseJsonSchema": {"type": "string"}, "responseJsonSchema": {"type": "string"}}
    assert body["generationConfig"] == expected
    assert counted["generateContentRequest"]["generationConfig"] == expected


def test_the_properties_of_a_schema_are_in_the_same_order_in_every_process():
    names = [f"p{number}" for number in range(100, 130)]
    properties = {name: api.Schema(type_=api.Type.STRING) for name in reversed(names)}
    config = api.GenerationConfig(response_schema=api.Schema(type_=api.Type.OBJECT, properties=properties))
    _, _, body = carried(GeminiMethod.GENERATE_CONTENT, api.GenerateContentRequest(generation_config=config))
    assert list(body["generationConfig"]["responseSchema"]["properties"]) == names


def test_a_value_without_a_json_form_is_refused():
    call = api.FunctionCall(name="f", args={"x": float("nan")})
    request = api.GenerateContentRequest(contents=[api.Content(parts=[api.Part(function_call=call)])])

    with pytest.raises(InvalidArgument, match="value without a JSON form"):
        carried(GeminiMethod.GENERATE_CONTENT, request)


def test_an_answer_keeps_values_that_google_has_no_name_for_and_leaves_out_such_fields():
    state = Enum("google.ai.generativelanguage.v1beta.TunedModel.State", {"ACTIVE": 2, "ASLEEP": 77})
    fields = (Field(5, "display_name", Kind.STRING), Field(7, "state", state), Field(99, "mood", Kind.STRING))
    model = Message("google.ai.generativelanguage.v1beta.TunedModel", fields)

    answer = answer_bytes(Typed(model, {"display_name": "any", "state": "ASLEEP", "mood": "good"}))

    assert answer == api.TunedModel.serialize(api.TunedModel(display_name="any", state=77))


def test_what_an_operation_holds_is_packed_with_its_type():
    metadata = Typed(tuning_messages.CREATE_TUNED_MODEL_METADATA, {"total_steps": 19, "tuned_model": "tunedModels/x"})
    model = Typed(tuning_messages.TUNED_MODEL, {"name": "tunedModels/x", "state": "ACTIVE"})
    fields = {"name": "tunedModels/x/operations/y", "metadata": metadata, "done": True, "response": model}

    operation = operations_pb2.Operation.FromString(answer_bytes(Typed(tuning_messages.OPERATION, fields)))

    unpacked = api.CreateTunedModelMetadata.pb()()
    assert operation.metadata.Unpack(unpacked)
    assert (unpacked.total_steps, unpacked.tuned_model) == (19, "tunedModels/x")
    assert operation.response.type_url.endswith("google.ai.generativelanguage.v1beta.TunedModel")


def test_the_error_of_an_operation_has_the_codes_own_number():
    fields = {"name": "x", "done": True, "error": {"code": 1, "message": "The tuning job was cancelled."}}

    operation = operations_pb2.Operation.FromString(answer_bytes(Typed(tuning_messages.OPERATION, fields)))

    assert (operation.WhichOneof("result"), operation.error.code) == ("error", 1)
