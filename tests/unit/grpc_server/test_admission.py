"""Who comes in over gRPC, through which channel, and how much they may bring."""

import grpc
import pytest
from google.ai import generativelanguage_v1beta as api

from grpc_caller import calling, details_of
from patience import PATIENCE_SECONDS
from tuningfork.dialect.scopes import SCOPES, Scope
from tuningfork.grpc_server.certificates import own_certificate
from tuningfork.service.identity.tokens import AccessTokens
from tuningfork.wire.gemini.service import SERVICE
from tuningfork.wire.google.proto_json.text import MAX_PAYLOAD_BYTES

GET_MODEL = "/google.ai.generativelanguage.v1beta.ModelService/GetModel"
REQUEST = api.GetModelRequest.serialize(api.GetModelRequest(name="models/echo-001"))
CODE = grpc.StatusCode


@pytest.mark.parametrize(
    "metadata",
    [
        [("x-goog-api-key", "KEY")],
        [("authorization", "Bearer KEY")],
        [("authorization", "bearer  KEY "), ("x-goog-user-project", "some-project")],
        [("authorization", "Bearer nonsense"), ("x-goog-api-key", "KEY")],
        [("x-goog-api-key", ""), ("authorization", "Bearer KEY")],
        [("x-goog-api-key", "KEY"), ("something-bin", b"\xff")],
    ],
)
def test_a_key_is_found_wherever_it_is(service, metadata):
    sent = [(name, value.replace("KEY", service.key) if isinstance(value, str) else value) for name, value in metadata]

    with service.calling(*sent) as caller:
        assert caller.raw(GET_MODEL, REQUEST)


@pytest.mark.parametrize(
    ("metadata", "code", "beginning"),
    [
        ([("any", "thing")], CODE.PERMISSION_DENIED, "Method doesn't allow unregistered callers"),
        ([("x-goog-api-key", "nonsense")], CODE.INVALID_ARGUMENT, "API key not valid."),
        ([("authorization", "Bearer nonsense")], CODE.UNAUTHENTICATED, "Request had invalid authentication"),
        ([("authorization", "Basic nonsense")], CODE.UNAUTHENTICATED, "Request had invalid authentication"),
    ],
)
def test_each_way_to_be_nobody_has_its_answer(service, metadata, code, beginning):
    with service.calling(*metadata) as caller, pytest.raises(grpc.RpcError) as caught:
        caller.raw(GET_MODEL, REQUEST)

    assert caught.value.code() is code
    assert caught.value.details().startswith(beginning)


def test_a_bad_key_is_told_with_its_reason(service):
    with service.calling(("x-goog-api-key", "nonsense")) as caller, pytest.raises(grpc.RpcError) as caught:
        caller.raw(GET_MODEL, REQUEST)

    info, localized = details_of(caught.value)
    assert (info.reason, dict(info.metadata)) == ("API_KEY_INVALID", {"service": "generativelanguage.googleapis.com"})
    assert localized.message == caught.value.details()


def test_an_access_token_opens_what_its_scopes_are_for(service, workshop):
    tokens = AccessTokens(workshop.database, workshop.clock, scopes=SCOPES, audience=SERVICE)
    token = tokens.create(workshop.access.authenticate(service.key), (Scope.TUNING_READONLY,)).value
    delete = "/google.ai.generativelanguage.v1beta.ModelService/DeleteTunedModel"

    with service.calling(("authorization", f"Bearer {token}")) as caller:
        assert list(caller.models.list_tuned_models()) == []
        with pytest.raises(grpc.RpcError) as caught:
            caller.raw(delete, api.DeleteTunedModelRequest.serialize(api.DeleteTunedModelRequest(name="tunedModels/x")))

    [info] = details_of(caught.value)
    assert caught.value.code() is CODE.PERMISSION_DENIED
    assert caught.value.details() == "Request had insufficient authentication scopes."
    assert info.reason == "ACCESS_TOKEN_SCOPE_INSUFFICIENT"
    assert info.metadata["method"] == "google.ai.generativelanguage.v1beta.ModelService.DeleteTunedModel"


def test_a_stranger_is_refused_before_the_request_is_looked_at(service):
    with service.calling(("any", "thing")) as caller, pytest.raises(grpc.RpcError) as caught:
        caller.raw(GET_MODEL, b"\xff this is no message")

    assert caught.value.code() is CODE.PERMISSION_DENIED


@pytest.mark.parametrize("rpc", ["ModelService/ListTunedModels", "PermissionService/GetPermission"])
def test_no_method_is_open(service, rpc):
    with service.calling(("any", "thing")) as caller, pytest.raises(grpc.RpcError) as caught:
        caller.raw(f"/google.ai.generativelanguage.v1beta.{rpc}")

    assert caught.value.code() is CODE.PERMISSION_DENIED


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_the_certificate_is_good_for_every_name_of_this_machine(service, host):
    with service.calling(("x-goog-api-key", service.key), host=host) as caller:
        assert caller.raw(GET_MODEL, REQUEST)


def test_a_caller_without_the_root_does_not_trust_the_server(service, tmp_path):
    another = own_certificate(tmp_path, ["localhost"], service.workshop.clock())

    with (
        calling(service.port, another.root_file.read_bytes()) as caller,
        pytest.raises(grpc.RpcError, match=r"(?i)certificate|handshake"),
    ):
        caller.raw(GET_MODEL, REQUEST)


def test_nothing_is_served_without_tls(service):
    with (
        grpc.insecure_channel(f"127.0.0.1:{service.port}") as channel,
        pytest.raises(grpc.RpcError) as caught,
    ):
        channel.unary_unary(GET_MODEL)(REQUEST, metadata=[("x-goog-api-key", service.key)], timeout=PATIENCE_SECONDS)

    assert caught.value.code() is CODE.UNAVAILABLE


@pytest.mark.parametrize("compression", [grpc.Compression.NoCompression, grpc.Compression.Gzip])
def test_a_request_larger_than_over_http_is_refused(ada, compression):
    with pytest.raises(grpc.RpcError) as caught:
        ada.raw(GET_MODEL, b"\0" * (MAX_PAYLOAD_BYTES + 1), compression=compression)

    assert caught.value.code() is CODE.RESOURCE_EXHAUSTED


def test_a_packed_request_is_unpacked(ada):
    assert ada.raw(GET_MODEL, REQUEST, compression=grpc.Compression.Gzip)


def test_a_training_set_of_megabytes_comes_through(ada, workshop):
    examples = [api.TuningExample(text_input=f"{number}", output="x" * 4_000) for number in range(1_000)]
    model = api.TunedModel(
        base_model="models/echo-001",
        tuning_task=api.TuningTask(training_data=api.Dataset(examples=api.TuningExamples(examples=examples))),
    )
    request = api.CreateTunedModelRequest(tuned_model_id="big", tuned_model=model)

    ada.models.create_tuned_model(request)

    assert workshop.running.claim() is not None
