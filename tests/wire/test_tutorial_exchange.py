"""The published tuning tutorial, request and answer, byte for byte where bytes are known.

Source: the Gemini API's "Tuning tutorial" (Python and REST) of March to October 2024, and the worked exchange that
was put together from its printed output.
"""

import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from tuningfork.domain.base_model import AdapterShape, BaseModelName
from tuningfork.domain.errors import Code
from tuningfork.domain.hyperparameters import Hyperparameters, RequestedHyperparameters
from tuningfork.domain.tuned_model import ModelState, TunedModel, TunedModelId
from tuningfork.domain.tuning_job import JobError, JobId, JobState, Snapshot, TuningJob, TuningRequest
from tuningfork.wire.gemini.operations import render_operation
from tuningfork.wire.gemini.tuning import parse_create, render_tuned_model
from tuningfork.wire.google.proto_json.encode import encode
from tuningfork.wire.google.proto_json.text import write
from workshop import NUMBER_PAIRS

# The body of the tutorial's curl command as it is printed, trailing commas and all.
PRINTED_BODY = b"""
      {
        "display_name": "number generator model",
        "base_model": "models/gemini-1.0-pro-001",
        "tuning_task": {
          "hyperparameters": {
            "batch_size": 2,
            "learning_rate": 0.001,
            "epoch_count":5,
          },
          "training_data": {
            "examples": {
              "examples": [
                {
                    "text_input": "1",
                    "output": "2",
                },{
                    "text_input": "3",
                    "output": "4",
                },{
                    "text_input": "-3",
                    "output": "-2",
                },{
                    "text_input": "twenty two",
                    "output": "twenty three",
                },{
                    "text_input": "two hundred",
                    "output": "two hundred one",
                },{
                    "text_input": "ninety nine",
                    "output": "one hundred",
                },{
                    "text_input": "8",
                    "output": "9",
                },{
                    "text_input": "-98",
                    "output": "-97",
                },{
                    "text_input": "1,000",
                    "output": "1,001",
                },{
                    "text_input": "10,100,000",
                    "output": "10,100,001",
                },{
                    "text_input": "thirteen",
                    "output": "fourteen",
                },{
                    "text_input": "eighty",
                    "output": "eighty one",
                },{
                    "text_input": "one",
                    "output": "two",
                },{
                    "text_input": "three",
                    "output": "four",
                },{
                    "text_input": "seven",
                    "output": "eight",
                }
              ]
            }
          }
        }
      }"""

# The answer to it: 296 bytes, as the tutorial's progress meter shows.
PRINTED_ANSWER = b"""{
  "name": "tunedModels/number-generator-model-dzlmi0gswwqb/operations/bvl8dymw0fhw",
  "metadata": {
    "@type": "type.googleapis.com/google.ai.generativelanguage.v1beta.CreateTunedModelMetadata",
    "totalSteps": 38,
    "tunedModel": "tunedModels/number-generator-model-dzlmi0gswwqb"
  }
}
"""


CREATED = datetime(2024, 3, 14, 15, 9, 4, 511322, tzinfo=UTC)
MODEL_STATES = {
    JobState.PREPARING: ModelState.CREATING,
    JobState.QUEUED: ModelState.CREATING,
    JobState.RUNNING: ModelState.CREATING,
    JobState.SUCCEEDED: ModelState.ACTIVE,
    JobState.FAILED: ModelState.FAILED,
    JobState.CANCELLED: ModelState.ACTIVE,
}


def tuned(state, *, model_id="number-generator-wl1qr34x2py", job_id="41vni3zk0a47", batch_size=4, **changes):
    """The tutorial's model and its job, in this state of the job."""
    base_model = BaseModelName("models/gemini-1.0-pro-001")
    model = TunedModel(
        id=TunedModelId(model_id),
        number=7,
        base_model=base_model,
        display_name="number generator",
        state=MODEL_STATES[state],
        create_time=CREATED,
        update_time=changes.get("complete_time", CREATED),
        temperature=0.9,
        top_p=1.0,
    )
    job = TuningJob(
        id=JobId(job_id),
        model_id=model.id,
        base_model=base_model,
        state=state,
        hyperparameters=Hyperparameters(epoch_count=5, batch_size=batch_size, learning_rate=0.001),
        adapter=AdapterShape(),
        example_count=15,
        seed=1,
        create_time=CREATED,
        completed_steps=len(changes.get("snapshots", ())),
        **changes,
    )
    return model, job


def snapshots(count, last_loss):
    return tuple(
        Snapshot(
            step=step,
            epoch=step * 4 // 15,
            mean_loss=last_loss if step == count else 7.26,
            compute_time=datetime(2024, 3, 14, 15, 9, 40 + step, 107263, tzinfo=UTC),
        )
        for step in range(1, count + 1)
    )


def printed(typed, **options):
    return write(encode(typed.message, typed.fields, **options)) + "\n"


def test_the_printed_body_is_understood():
    assert parse_create(PRINTED_BODY, {}) == TuningRequest(
        base_model="models/gemini-1.0-pro-001",
        display_name="number generator model",
        examples=NUMBER_PAIRS,
        hyperparameters=RequestedHyperparameters(epoch_count=5, batch_size=2, learning_rate=0.001),
    )


def test_the_answer_to_create_is_the_printed_one_to_the_byte():
    model, job = tuned(
        JobState.QUEUED, model_id="number-generator-model-dzlmi0gswwqb", job_id="bvl8dymw0fhw", batch_size=2
    )

    answer = printed(render_operation(model, job)).encode()

    assert answer == PRINTED_ANSWER
    assert len(answer) == 296


def test_a_running_operation_shows_its_progress_as_printed():
    model, job = tuned(JobState.RUNNING, start_time=STARTED, snapshots=snapshots(1, 7.26))

    assert (
        printed(render_operation(model, job))
        == """{
  "name": "tunedModels/number-generator-wl1qr34x2py/operations/41vni3zk0a47",
  "metadata": {
    "@type": "type.googleapis.com/google.ai.generativelanguage.v1beta.CreateTunedModelMetadata",
    "totalSteps": 19,
    "completedSteps": 1,
    "completedPercent": 5.263158,
    "snapshots": [
      {
        "step": 1,
        "meanLoss": 7.26,
        "computeTime": "2024-03-14T15:09:41.107263Z"
      }
    ],
    "tunedModel": "tunedModels/number-generator-wl1qr34x2py"
  }
}
"""
    )


STARTED = datetime(2024, 3, 14, 15, 9, 5, 120837, tzinfo=UTC)
COMPLETED = datetime(2024, 3, 14, 15, 11, 25, 83312, tzinfo=UTC)


def test_a_finished_operation_holds_the_whole_model():
    model, job = tuned(
        JobState.SUCCEEDED, start_time=STARTED, complete_time=COMPLETED, snapshots=snapshots(19, 1.402067)
    )

    operation = json.loads(printed(render_operation(model, job)))

    steps = operation["metadata"]["snapshots"]
    assert operation == {
        "name": "tunedModels/number-generator-wl1qr34x2py/operations/41vni3zk0a47",
        "metadata": {
            "@type": "type.googleapis.com/google.ai.generativelanguage.v1beta.CreateTunedModelMetadata",
            "totalSteps": 19,
            "completedSteps": 19,
            "completedPercent": 100,
            "snapshots": steps,
            "tunedModel": "tunedModels/number-generator-wl1qr34x2py",
        },
        "done": True,
        "response": {
            "@type": "type.googleapis.com/google.ai.generativelanguage.v1beta.TunedModel",
            "name": "tunedModels/number-generator-wl1qr34x2py",
            "baseModel": "models/gemini-1.0-pro-001",
            "displayName": "number generator",
            "state": "ACTIVE",
            "createTime": "2024-03-14T15:09:04.511322Z",
            "updateTime": "2024-03-14T15:11:25.083312Z",
            "tuningTask": {
                "startTime": "2024-03-14T15:09:05.120837Z",
                "completeTime": "2024-03-14T15:11:25.083312Z",
                "snapshots": steps,
                "hyperparameters": {"epochCount": 5, "batchSize": 4, "learningRate": 0.001},
            },
            "temperature": 0.9,
            "topP": 1,
        },
    }
    assert list(operation) == ["name", "metadata", "done", "response"]
    assert len(steps) == 19
    # The tutorial prints "100.00% - {'step': 19, 'epoch': 5, 'meanLoss': 1.402067, 'computeTime': ...}".
    assert steps[-1] == {
        "step": 19,
        "epoch": 5,
        "meanLoss": 1.402067,
        "computeTime": "2024-03-14T15:09:59.107263Z",
    }
    # Epochs are counted when they are complete, and none at first.
    assert [step.get("epoch", "absent") for step in steps[:5]] == ["absent", "absent", "absent", 1, 1]


def test_enums_as_numbers_reach_into_the_response():
    model, job = tuned(JobState.SUCCEEDED, complete_time=COMPLETED, snapshots=snapshots(19, 1.402067))

    operation = json.loads(printed(render_operation(model, job), enums_as_numbers=True))

    assert operation["response"]["state"] == 2


@pytest.mark.parametrize(
    ("state", "error", "printed_error"),
    [
        (
            JobState.FAILED,
            JobError(code=Code.INTERNAL, message="The loss is not finite."),
            {"code": 13, "message": "The loss is not finite."},
        ),
        (JobState.FAILED, None, {"code": 13, "message": "The tuning job failed."}),
        (
            JobState.CANCELLED,
            JobError(code=Code.CANCELLED, message="Cancelled after 3 of 19 steps."),
            {"code": 1, "message": "Cancelled after 3 of 19 steps."},
        ),
        (JobState.CANCELLED, None, {"code": 1, "message": "The tuning job was cancelled."}),
    ],
)
def test_an_operation_that_ended_otherwise_holds_the_error_and_no_response(state, error, printed_error):
    model, job = tuned(state, error=error, complete_time=COMPLETED)

    operation = json.loads(printed(render_operation(model, job)))

    assert operation["done"] is True
    assert operation["error"] == printed_error
    assert "response" not in operation
    assert operation["metadata"]["totalSteps"] == 19


@pytest.mark.parametrize("state", [JobState.QUEUED, JobState.RUNNING])
def test_an_operation_that_goes_on_has_no_done_and_no_end(state):
    operation = json.loads(printed(render_operation(*tuned(state))))

    assert set(operation) == {"name", "metadata"}


@pytest.mark.parametrize("state", list(JobState))
@pytest.mark.parametrize("steps", [0, 1, 19])
def test_progress_is_never_shown_without_its_snapshots(state, steps):
    """The tutorial's polling loop reads snapshots[-1] as soon as completedPercent is there."""
    metadata = json.loads(printed(render_operation(*tuned(state, snapshots=snapshots(steps, 1.5)))))["metadata"]

    assert ("completedPercent" in metadata) == ("snapshots" in metadata) == (steps > 0)


def test_the_training_data_never_comes_back():
    model, job = tuned(JobState.RUNNING, start_time=STARTED)

    assert "trainingData" not in printed(render_tuned_model(model, job))


def test_the_rate_in_use_is_shown_whatever_led_to_it():
    """google-generativeai breaks on a model that shows a multiplier."""
    used = Hyperparameters(epoch_count=5, batch_size=4, learning_rate=0.0005, learning_rate_multiplier=0.5)
    model, job = tuned(JobState.RUNNING)
    job = replace(job, hyperparameters=used)

    shown = json.loads(printed(render_tuned_model(model, job)))["tuningTask"]["hyperparameters"]

    assert shown == {"epochCount": 5, "batchSize": 4, "learningRate": 0.0005}


def test_project_numbers_are_strings_as_all_long_integers():
    model, job = tuned(JobState.RUNNING)
    model = replace(model, reader_project_numbers=(123, 2**53 + 1))

    assert json.loads(printed(render_tuned_model(model, job)))["readerProjectNumbers"] == ["123", "9007199254740993"]
