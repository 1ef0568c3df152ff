"""Every rpc once, with the clients that Google generates."""

import pytest
from google.ai import generativelanguage_v1beta as api
from google.api_core.exceptions import NotFound
from google.protobuf.field_mask_pb2 import FieldMask

from pairs import pairs_of
from patience import PATIENCE_SECONDS
from workshop import NUMBER_PAIRS

MODEL = "tunedModels/numbers"
MODELS = "/google.ai.generativelanguage.v1beta.ModelService"
STATE = api.TunedModel.State
GRANTEE = api.Permission.GranteeType
ROLE = api.Permission.Role


def tutorial_model(**changes):
    """The tutorial's request: fifteen pairs, nineteen steps."""
    examples = [
        api.TuningExample(text_input=text_input, output=output) for text_input, output in pairs_of(NUMBER_PAIRS)
    ]
    task = api.TuningTask(
        hyperparameters=api.Hyperparameters(batch_size=4, learning_rate=0.001, epoch_count=5),
        training_data=api.Dataset(examples=api.TuningExamples(examples=examples)),
    )
    return api.TunedModel(
        display_name="number generator", base_model="models/gemini-1.0-pro-001", tuning_task=task, **changes
    )


def create(caller, model=None, name=MODEL):
    """The operation that makes a tuned model, as the client shows it."""
    request = api.CreateTunedModelRequest(
        tuned_model_id=name.removeprefix("tunedModels/"), tuned_model=model or tutorial_model()
    )
    return caller.models.create_tuned_model(request)


@pytest.fixture
def tuned(ada, workshop):
    """A tuned model of Ada's that has been trained."""
    create(ada)
    workshop.advance()
    return MODEL


def prompt(text):
    return [api.Content(role="user", parts=[api.Part(text=text)])]


def test_base_models_are_listed_page_by_page(ada):
    [first, *others] = ada.models.list_models(api.ListModelsRequest(page_size=1))

    assert "createTunedModel" in first.supported_generation_methods
    assert (first.name, first.temperature, first.top_k) == ("models/echo-001", pytest.approx(0.7), 64)
    assert [model.name for model in others] == ["models/gemini-1.0-pro-001", "models/gemini-1.5-flash-001-tuning"]


def test_a_base_model_is_shown(ada):
    assert ada.models.get_model(name="models/echo-001").input_token_limit > 0


def test_tuning_shows_its_steps_and_ends_with_the_model(ada, workshop):
    operation = create(ada)
    at_first = operation.metadata
    workshop.advance(steps=7)
    assert not operation.done()
    midway = operation.metadata
    workshop.running.requeue_interrupted()
    workshop.advance()
    model = operation.result(timeout=PATIENCE_SECONDS)

    assert operation.operation.name.startswith(f"{MODEL}/operations/")
    assert (at_first.tuned_model, at_first.total_steps, at_first.completed_steps) == (MODEL, 19, 0)
    assert (midway.completed_steps, midway.snapshots[-1].step, len(midway.snapshots)) == (7, 7, 7)
    assert midway.completed_percent == pytest.approx(700 / 19, rel=1e-6)
    assert operation.metadata.completed_percent == 100
    assert (model.name, model.state, len(model.tuning_task.snapshots)) == (MODEL, STATE.ACTIVE, 19)
    assert model.tuning_task.hyperparameters.learning_rate == pytest.approx(0.001)
    assert not model.tuning_task.training_data, "the examples stay here"


def test_hyperparameters_that_are_sent_empty_get_the_defaults(ada):
    model = tutorial_model()
    model.tuning_task.hyperparameters = api.Hyperparameters()

    create(ada, model)

    assert ada.models.get_tuned_model(name=MODEL).tuning_task.hyperparameters.epoch_count == 5


def test_values_that_are_zero_are_told_apart_from_those_left_out(ada):
    create(ada, tutorial_model(temperature=0.0))

    model = ada.models.get_tuned_model(name=MODEL)

    assert api.TunedModel.pb(model).HasField("temperature")
    assert (model.temperature, model.top_p) == (0.0, pytest.approx(0.95))


def test_numbers_of_64_bits_come_through(ada):
    create(ada, tutorial_model(reader_project_numbers=[2**53 + 1]))

    assert ada.models.get_tuned_model(name=MODEL).reader_project_numbers == [2**53 + 1]


def test_tuned_models_are_listed_for_those_who_may_see_them(ada, bob, tuned):
    create(ada, name="tunedModels/more")

    listed = ada.models.list_tuned_models(api.ListTunedModelsRequest(page_size=1, filter="owner:me"))

    assert [model.name for model in listed] == [tuned, "tunedModels/more"]
    assert list(bob.models.list_tuned_models()) == []


def test_a_tuned_model_is_changed_where_the_mask_says(ada, tuned):
    changed = api.TunedModel(name=tuned, display_name="renamed", description="unmasked", temperature=0.25)

    answer = ada.models.update_tuned_model(
        tuned_model=changed, update_mask=FieldMask(paths=["display_name", "temperature"])
    )

    assert (answer.display_name, answer.description, answer.temperature) == ("renamed", "", 0.25)
    assert ada.models.get_tuned_model(name=tuned).display_name == "renamed"


def test_a_deleted_tuned_model_is_gone(ada, tuned):
    ada.models.delete_tuned_model(name=tuned)

    with pytest.raises(NotFound, match=f"Tuned model {tuned} does not exist"):
        ada.models.get_tuned_model(name=tuned)


def test_a_tuned_model_answers_what_it_learned(ada, tuned):
    answer = ada.generative.generate_content(api.GenerateContentRequest(model=tuned, contents=prompt("1")))

    [candidate] = answer.candidates
    assert (candidate.content.parts[0].text, candidate.content.role) == ("2", "model")
    assert candidate.finish_reason == api.Candidate.FinishReason.STOP
    assert api.Candidate.pb(candidate).HasField("index")
    assert answer.usage_metadata.total_token_count == 2


def test_a_base_model_answers_as_it_is_configured(ada, workshop):
    config = api.GenerationConfig(max_output_tokens=2, stop_sequences=["x"], temperature=0.0, candidate_count=1)
    request = api.GenerateContentRequest(
        model="models/echo-001", contents=prompt("one two three"), generation_config=config
    )

    answer = ada.generative.generate_content(request)

    assert answer.candidates[0].content.parts[0].text == "one two "
    assert answer.candidates[0].finish_reason == api.Candidate.FinishReason.MAX_TOKENS
    assert workshop.executor.generations[-1].sampling.temperature == 0.0


def test_an_answer_streams_in_order(ada):
    request = api.GenerateContentRequest(model="models/echo-001", contents=prompt("a b c d"))

    chunks = list(ada.generative.stream_generate_content(request))

    assert [chunk.candidates[0].content.parts[0].text for chunk in chunks] == ["a ", "b ", "c ", "d"]
    assert [chunk.candidates[0].finish_reason.name for chunk in chunks][-2:] == ["FINISH_REASON_UNSPECIFIED", "STOP"]


def test_text_is_generated_as_before_there_were_turns(ada):
    request = api.GenerateTextRequest(model="models/echo-001", prompt=api.TextPrompt(text="a b"), candidate_count=2)

    answer = ada.texts.generate_text(request)

    assert [candidate.output for candidate in answer.candidates] == ["a b", "a b"]


def test_tokens_are_counted_of_contents_and_of_whole_requests(ada, tuned):
    inside = api.GenerateContentRequest(
        model=tuned, contents=prompt("a b c"), generation_config=api.GenerationConfig(temperature=0.0)
    )

    assert ada.generative.count_tokens(model=tuned, contents=prompt("a b")).total_tokens == 2
    of_request = api.CountTokensRequest(model=tuned, generate_content_request=inside)
    assert ada.generative.count_tokens(of_request).total_tokens == 3


def test_permissions_live_and_die(ada, bob, tuned):
    everyone = api.Permission(grantee_type=GRANTEE.EVERYONE, role=ROLE.READER)
    bobs = api.Permission(grantee_type=GRANTEE.USER, email_address="bob@example.com", role=ROLE.READER)
    created = ada.permissions.create_permission(parent=tuned, permission=bobs)
    ada.permissions.create_permission(parent=tuned, permission=everyone)

    raised = ada.permissions.update_permission(
        permission=api.Permission(name=created.name, role=ROLE.WRITER), update_mask=FieldMask(paths=["role"])
    )
    listed = list(bob.permissions.list_permissions(api.ListPermissionsRequest(parent=tuned, page_size=1)))
    ada.permissions.delete_permission(name=created.name)

    assert created.name.startswith(f"{tuned}/permissions/")
    assert (raised.role, raised.email_address) == (ROLE.WRITER, "bob@example.com")
    found = {each.grantee_type: each for each in listed if each.role != ROLE.OWNER}
    assert len(listed) == 3
    assert found[GRANTEE.USER] == raised
    assert not api.Permission.pb(found[GRANTEE.EVERYONE]).HasField("email_address")
    with pytest.raises(NotFound):
        ada.permissions.get_permission(name=created.name)
    assert ada.permissions.get_permission(name=listed[0].name) == listed[0]


def test_a_model_gets_another_owner(ada, bob, tuned):
    request = api.TransferOwnershipRequest(name=tuned, email_address="bob@example.com")

    ada.permissions.transfer_ownership(request)

    assert [model.name for model in bob.models.list_tuned_models({"filter": "owner:me"})] == [tuned]


def test_operations_are_shown_listed_cancelled_and_dismissed(ada):
    operation = create(ada)
    name = operation.operation.name
    shown = ada.operations.get_operation(name)
    listed = list(ada.operations.list_operations(MODEL, ""))

    ada.operations.cancel_operation(name)

    assert shown == operation.operation
    assert listed == [shown]
    assert operation.cancelled()
    ada.operations.delete_operation(name)
    assert ada.operations.get_operation(name).done, "it lives as long as its model"


@pytest.mark.parametrize(("client", "shown"), [("google-genai-sdk/1.46.0", True), ("genai-py/0.8.6", False)])
def test_a_multiplier_is_shown_to_clients_that_can_read_it(service, client, shown):
    model = tutorial_model()
    model.tuning_task.hyperparameters = api.Hyperparameters(learning_rate_multiplier=0.5)

    create = api.CreateTunedModelRequest(tuned_model_id="x", tuned_model=model)
    get = api.GetTunedModelRequest(name="tunedModels/x")
    with service.calling(("x-goog-api-key", service.key), ("x-goog-api-client", client)) as caller:
        caller.raw(f"{MODELS}/CreateTunedModel", api.CreateTunedModelRequest.serialize(create))
        answer = caller.raw(f"{MODELS}/GetTunedModel", api.GetTunedModelRequest.serialize(get))

    used = api.TunedModel.deserialize(answer).tuning_task.hyperparameters
    assert api.Hyperparameters.pb(used).HasField("learning_rate_multiplier") is shown
    assert api.Hyperparameters.pb(used).HasField("learning_rate") is not shown


def test_operations_of_all_models_are_listed_by_no_name(ada, bob):
    names = {create(ada, name=f"tunedModels/m{number}").operation.name for number in range(3)}

    assert {each.name for each in ada.operations.list_operations("", "")} == names
    assert list(ada.operations.list_operations("", "done = true")) == []
    assert list(bob.operations.list_operations("", "")) == []


def test_the_versions_of_the_api_are_alike(ada, tuned):
    request = api.GetTunedModelRequest.serialize(api.GetTunedModelRequest(name=tuned))

    answers = {
        ada.raw(f"/google.ai.generativelanguage.{version}.ModelService/GetTunedModel", request)
        for version in ("v1", "v1alpha", "v1beta")
    }

    assert len(answers) == 1
