"""The create request inward, beyond what the tutorial sends."""

import cProfile
import json
import math
import pstats
from datetime import UTC, datetime, timedelta

import pytest

from tuningfork.domain.conversation import Conversation
from tuningfork.domain.dataset import MAX_REPORTED_VIOLATIONS
from tuningfork.domain.errors import InvalidArgument
from tuningfork.domain.tuned_model import Changeable, ModelChange
from tuningfork.domain.tuning_job import Snapshot, TuningRequest
from tuningfork.wire.gemini.names import name_of
from tuningfork.wire.gemini.tuning import (
    ListQuery,
    parse_create,
    parse_list,
    parse_update,
    reads_multiplier,
    render_snapshots,
)
from tuningfork.wire.gemini.tuning_messages import TUNED_MODEL, TUNING_SNAPSHOT
from tuningfork.wire.google.proto_json.encode import encode
from tuningfork.wire.google.proto_json.text import write
from tuningfork.wire.google.queries import refuse_query

EXAMPLES = "tuned_model.tuning_task.training_data.examples.examples"


def parse(body, query=None):
    return parse_create(json.dumps(body).encode(), query or {})


def body_of(examples):
    return {"baseModel": "models/x", "tuningTask": {"trainingData": {"examples": {"examples": examples}}}}


def refusal(body):
    with pytest.raises(InvalidArgument) as caught:
        parse(body)
    return caught.value


@pytest.mark.parametrize("body", [b"", b"{}", b'{"tuningTask": {"trainingData": {"examples": {}}}}'])
def test_what_is_missing_is_left_to_the_service_to_name(body):
    assert parse_create(body, {}) == TuningRequest(base_model="", examples=())


def test_every_field_finds_its_place():
    body = {
        **body_of([{"text_input": "a", "output": "b"}]),
        "description": "d",
        "temperature": 0,
        "top_p": 0.5,
        "topK": 3,
        "readerProjectNumbers": ["12", 13],
        # Sent back by an SDK that had read the model before.
        "name": "tunedModels/ignored",
        "state": 2,
        "createTime": "never",
    }

    assert parse(body, {"tunedModelId": "my-model"}) == TuningRequest(
        base_model="models/x",
        examples=(Conversation.pair("a", "b"),),
        tuned_model_id="my-model",
        description="d",
        temperature=0,
        top_p=0.5,
        top_k=3,
        reader_project_numbers=(12, 13),
    )


def test_an_empty_input_is_an_input_and_a_missing_one_is_not():
    assert parse(body_of([{"textInput": "", "output": "b"}])).examples == (Conversation.pair("", "b"),)
    error = refusal(body_of([{"textInput": "a", "output": "b"}, {"output": "b"}]))
    assert [violation.field for violation in error.violations] == [f"{EXAMPLES}[1].text_input"]


def test_a_thousand_missing_inputs_are_not_all_named():
    assert len(refusal(body_of([{"output": "b"}] * 1_000)).violations) == MAX_REPORTED_VIOLATIONS


def test_an_unknown_column_is_named_with_its_row():
    error = refusal(body_of([{"textInput": "a", "output": "b"}, {"input": "a", "output": "b"}]))

    assert error.message == (
        f"Invalid JSON payload received. Unknown name \"input\" at '{EXAMPLES}[1]': Cannot find field."
    )


@pytest.mark.parametrize(
    "source",
    [
        {"tunedModel": "tunedModels/x"},
        # google-generativeai sends the root as well, which is the server's to say.
        {"tunedModel": "tunedModels/x", "baseModel": "models/ignored"},
        {"tuned_model": "tunedModels/x", "base_model": 7},
    ],
)
def test_a_tuned_model_can_be_what_is_tuned(source):
    request = parse({**body_of([]), "baseModel": None, "tunedModelSource": source})

    assert (name_of(request.source), request.base_model) == ("tunedModels/x", "")


@pytest.mark.parametrize("source", [{}, {"tunedModel": ""}, {"baseModel": "models/x"}])
def test_a_source_that_is_not_named_is_told(source):
    error = refusal({**body_of([]), "baseModel": None, "tunedModelSource": source})

    assert error.message == (
        "* CreateTunedModelRequest.tuned_model.tuned_model_source.tuned_model: "
        "tuned_model is missing; name the tuned model to go on from, such as tunedModels/...\n"
    )


def test_two_sources_exclude_each_other():
    error = refusal({**body_of([]), "tunedModelSource": {"tunedModel": "tunedModels/x"}})

    assert "oneof field 'source_model' is already set" in error.message


def test_a_list_may_be_asked_for_without_words():
    assert parse_list({}) == ListQuery(page_size=None, page_token="", filter="")
    assert parse_list({"page_size": "5", "pageToken": "t", "filter": "owner:me"}) == ListQuery(
        page_size=5, page_token="t", filter="owner:me"
    )


def test_methods_without_parameters_have_none():
    refuse_query({})
    with pytest.raises(InvalidArgument, match="Cannot bind query parameter"):
        refuse_query({"pageSize": "5"})


class TestChanges:
    def change(self, body, mask=None):
        return parse_update(json.dumps(body).encode(), {} if mask is None else {"updateMask": mask})

    def test_every_field_finds_its_place(self):
        body = {
            "display_name": "n",
            "description": "d",
            "temperature": "0.5",
            "topP": 1,
            "topK": 3.0,
            "readerProjectNumbers": ["12", 13],
        }
        assert self.change(body) == ModelChange(
            fields=frozenset(Changeable),
            display_name="n",
            description="d",
            temperature=0.5,
            top_p=1,
            top_k=3,
            reader_project_numbers=(12, 13),
        )

    def test_what_a_mask_leaves_out_is_left_out_with_its_value(self):
        assert self.change({"description": "d", "temperature": 0.5}, "temperature") == ModelChange(
            fields=frozenset({Changeable.TEMPERATURE}), temperature=0.5
        )

    def test_what_a_mask_names_and_the_body_lacks_is_cleared(self):
        assert self.change({}, "description,topK") == ModelChange(
            fields=frozenset({Changeable.DESCRIPTION, Changeable.TOP_K})
        )

    def test_without_a_mask_defaults_of_fields_without_presence_are_no_values(self):
        assert self.change({"displayName": "", "readerProjectNumbers": [], "topK": 0}) == ModelChange(
            fields=frozenset({Changeable.TOP_K}), top_k=0
        )

    def test_everything_that_may_be_changed_is_a_field_of_the_message(self):
        assert {field.value for field in Changeable} <= {field.name for field in TUNED_MODEL.fields}


@pytest.mark.parametrize(
    ("client", "reads"),
    [
        ("", True),
        ("google-genai-sdk/1.46.0 gl-python/3.11", True),
        ("google-genai-sdk/2.34.0+afc+chat gl-python/3.11", True),
        ("genai-py/0.8.6 gl-python/3.11 grpc/1.85.1 gax/2.33.0", False),
        ("gl-python/3.11 rest/requests@2.34.2 gax/2.33.0 gapic/2.33.0", False),
        ("other/1.0 google-genai-sdk/1.46.0", False),
        (None, False),
    ],
)
def test_the_multiplier_is_for_those_who_are_known_to_read_it(client, reads):
    assert reads_multiplier(client) is reads


NOON = datetime(2024, 3, 14, 12, tzinfo=UTC)


@pytest.mark.parametrize("loss", [0.0, 1.5, 0.1, 1e-45, 1e300, math.nan, math.inf, -math.inf, 2.0**60])
@pytest.mark.parametrize("microseconds", [0, 120_000, 123_456])
@pytest.mark.parametrize("epoch", [0, 3])
def test_a_snapshot_is_printed_as_its_message_says(loss, microseconds, epoch):
    moment = NOON + timedelta(microseconds=microseconds)
    snapshot = Snapshot(step=7, epoch=epoch, mean_loss=loss, compute_time=moment)
    fields = {"step": 7, "epoch": epoch, "mean_loss": loss, "compute_time": moment}

    [printed] = render_snapshots([snapshot])

    assert write(printed) == write(encode(TUNING_SNAPSHOT, fields))
    assert list(printed) == list(encode(TUNING_SNAPSHOT, fields))


def test_the_first_poll_of_a_long_job_prints_each_snapshot_in_few_calls():
    """Calls of functions are counted, since times depend on the machine; with the message's table there were 71."""
    snapshots = [
        Snapshot(step=step, epoch=1, mean_loss=1.2345678 / step, compute_time=NOON + timedelta(seconds=step))
        for step in range(100, 600)
    ]
    write(render_snapshots(snapshots[:1]))

    with cProfile.Profile() as profile:
        write(render_snapshots(snapshots))

    assert pstats.Stats(profile).total_calls / len(snapshots) < 30


@pytest.mark.parametrize("count", [0, 1, 49, 50, 51, 120])
@pytest.mark.parametrize("pretty", [True, False])
def test_snapshots_that_are_printed_together_are_written_as_if_one_by_one(count, pretty):
    snapshots = [
        Snapshot(step=step, epoch=step // 9, mean_loss=step / 7, compute_time=NOON + timedelta(seconds=step))
        for step in range(1, count + 1)
    ]
    printed = render_snapshots(snapshots)

    assert write({"a": {"b": printed}}, pretty=pretty) == write({"a": {"b": [*printed]}}, pretty=pretty)
    assert write({"b": printed}, pretty=pretty) == write({"b": [*printed]}, pretty=pretty)
