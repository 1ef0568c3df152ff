"""Errors over gRPC: code, message and details, within what a client takes."""

import grpc
import pytest
from google.ai import generativelanguage_v1beta as api
from google.rpc import error_details_pb2

from grpc_caller import details_of
from tuningfork.domain.errors import Code, FieldViolation, TuningforkError
from tuningfork.grpc_server.refusals import refusal as refusal_as_told
from tuningfork.grpc_server.refusals import refusal_of
from tuningfork.service.quotas import Budget, Quotas
from tuningfork.wire.gemini.errors import GEMINI_ERRORS
from tuningfork.wire.google.errors import NUMBERS, ErrorInfo, Printed

MOST_TRAILER_BYTES = 8 * 1024
MODELS = "/google.ai.generativelanguage.v1beta.ModelService"


def refused(caller, method, request):
    """The error that the rpc ends with."""
    with pytest.raises(grpc.RpcError) as caught:
        caller.raw(method, type(request).serialize(request))
    return caught.value


def trailer_bytes(refusal):
    """What the trailers take in HTTP/2's own count (RFC 9113, 6.5.2), with the message as gRPC encodes it."""
    encoded = "".join(chr(byte) if 0x20 <= byte < 0x7F and byte != 0x25 else "%00" for byte in refusal.message.encode())
    [(name, status)] = refusal.trailers
    fields = {"grpc-status": "3", "grpc-message": encoded, name: "A" * (4 * -(-len(status) // 3))}
    return sum(len(name) + len(value) + 32 for name, value in fields.items())


def test_what_is_missing_is_not_found(ada):
    error = refused(ada, f"{MODELS}/GetTunedModel", api.GetTunedModelRequest(name="tunedModels/none"))

    assert error.code() is grpc.StatusCode.NOT_FOUND
    assert error.details() == "Tuned model tunedModels/none does not exist."
    assert details_of(error) == []


def test_what_is_wrong_in_a_request_is_named_field_by_field(ada):
    task = api.TuningTask(hyperparameters=api.Hyperparameters(epoch_count=0, learning_rate=-1.0))
    model = api.TunedModel(base_model="models/echo-001", display_name="x" * 41, tuning_task=task)

    error = refused(ada, f"{MODELS}/CreateTunedModel", api.CreateTunedModelRequest(tuned_model=model))

    [request] = details_of(error)
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert {violation.field for violation in request.field_violations} >= {
        "tuned_model.display_name",
        "tuned_model.tuning_task.hyperparameters.epoch_count",
        "tuned_model.tuning_task.hyperparameters.learning_rate",
    }
    assert "* CreateTunedModelRequest.tuned_model.display_name: " in error.details()


@pytest.mark.parametrize(
    ("method", "request_", "field", "form"),
    [
        ("GetTunedModel", api.GetTunedModelRequest(name="numbers"), "name", "tunedModels/{tuned_model}"),
        ("GetTunedModel", api.GetTunedModelRequest(), "name", "tunedModels/{tuned_model}"),
        ("GetModel", api.GetModelRequest(name="tunedModels/x"), "name", "models/{model}"),
        ("DeleteTunedModel", api.DeleteTunedModelRequest(name="tunedModels/a/b"), "name", "tunedModels/{tuned_model}"),
    ],
)
def test_a_name_of_another_form_is_told_the_right_one(ada, method, request_, field, form):
    error = refused(ada, f"{MODELS}/{method}", request_)

    [request] = details_of(error)
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert [violation.field for violation in request.field_violations] == [field]
    assert error.details().endswith(f"write {form}\n")


def test_a_model_can_be_of_two_kinds(ada):
    error = refused(
        ada,
        "/google.ai.generativelanguage.v1beta.GenerativeService/GenerateContent",
        api.GenerateContentRequest(model="gemini"),
    )

    assert error.details().startswith(
        '* GenerateContentRequest.model: unexpected model name format: "gemini"; '
        "write models/{model} or tunedModels/{tuned_model}"
    )


def test_bytes_that_are_no_message_are_refused(ada):
    with pytest.raises(grpc.RpcError, match=r"cannot be read as .*GetTunedModelRequest") as caught:
        ada.raw(f"{MODELS}/GetTunedModel", b"\xff\xff\xff")

    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_an_enum_number_without_a_name_is_refused(ada):
    permission = api.Permission(grantee_type=api.Permission.GranteeType.EVERYONE, role=99)
    request = api.CreatePermissionRequest(parent="tunedModels/x", permission=permission)

    error = refused(ada, "/google.ai.generativelanguage.v1beta.PermissionService/CreatePermission", request)

    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "permission.role" in error.details()


def test_a_missing_base_is_told_with_the_version_that_was_called(ada):
    request = api.GetModelRequest.serialize(api.GetModelRequest(name="models/none"))

    with pytest.raises(grpc.RpcError, match="is not found for API version v1,"):
        ada.raw("/google.ai.generativelanguage.v1.ModelService/GetModel", request)


@pytest.mark.parametrize(
    "method",
    [
        "google.ai.generativelanguage.v1beta.GenerativeService/EmbedContent",
        "google.ai.generativelanguage.v1beta.GenerativeService/BidiGenerateContent",
        "google.ai.generativelanguage.v1beta2.ModelService/GetModel",
        "google.longrunning.Operations/WaitOperation",
        "tuningfork.v1/ExportAdapter",
        "nothing",
    ],
)
def test_what_is_not_served_is_named(ada, method):
    with pytest.raises(grpc.RpcError) as caught:
        ada.raw(f"/{method}")

    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
    assert caught.value.details() == f"{method.replace('/', '.')} is not a method of this server."


def test_a_strangers_words_do_not_come_back_at_length(ada):
    with pytest.raises(grpc.RpcError) as caught:
        ada.raw(f"/{'x' * 5_000}/y")

    assert len(caught.value.details()) < 300


class TestAQuota:
    @pytest.fixture
    def quotas(self):
        return Quotas(Budget(requests_per_minute=2))

    def test_that_is_used_up_says_when_to_come_back(self, ada):
        for _ in range(2):
            ada.models.get_model(name="models/echo-001")

        error = refused(ada, f"{MODELS}/GetModel", api.GetModelRequest(name="models/echo-001"))

        kinds = {type(detail): detail for detail in details_of(error)}
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert kinds[error_details_pb2.QuotaFailure].violations[0].quota_value == 2
        assert 0 < kinds[error_details_pb2.RetryInfo].retry_delay.seconds <= 60


def test_a_fault_of_ours_keeps_its_text_to_itself(caplog):
    refusal = refusal_of(ZeroDivisionError("the secret of line 7"), GEMINI_ERRORS)

    assert refusal.code is grpc.StatusCode.INTERNAL
    assert "secret" not in refusal.message
    assert "the secret of line 7" in caplog.text


@pytest.mark.parametrize("code", Code)
def test_every_code_has_its_status(code):
    error = TuningforkError("any")
    error.code = code

    assert refusal_of(error, GEMINI_ERRORS).code.value[0] == NUMBERS[code]


@pytest.mark.parametrize("letter", ["x", "é", "%", "\n", "数", "😀"])
@pytest.mark.parametrize("violations", [0, 1, 100])
def test_no_error_is_larger_than_what_a_client_takes(letter, violations):
    fields = tuple(FieldViolation(field=f"a.b[{n}]", description=letter * 200) for n in range(violations))

    refusal = refusal_as_told(
        Printed(
            code=Code.INVALID_ARGUMENT,
            message=letter * 20_000,
            violations=fields,
            info=ErrorInfo(reason="BIG"),
        )
    )

    assert trailer_bytes(refusal) < MOST_TRAILER_BYTES
    assert refusal.message.endswith("...")
    assert len(refusal.message.encode()) > 500


def test_the_first_of_a_hundred_violations_arrive(ada):
    examples = [api.TuningExample(text_input="", output="") for _ in range(100)]
    task = api.TuningTask(training_data=api.Dataset(examples=api.TuningExamples(examples=examples)))
    model = api.TunedModel(base_model="models/echo-001", tuning_task=task)

    error = refused(ada, f"{MODELS}/CreateTunedModel", api.CreateTunedModelRequest(tuned_model=model))

    [request] = details_of(error)
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert request.field_violations[0].field.startswith("tuned_model.tuning_task.training_data.examples.examples[0]")
    assert len(request.field_violations) > 5
