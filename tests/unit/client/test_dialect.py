"""Requests rendered and answers parsed, against JSON as the published reference prints it."""

import math
from datetime import UTC, datetime

import pytest

from tuningfork.client import TextWithheld, dialect
from tuningfork.domain.conversation import Conversation
from tuningfork.domain.errors import FieldViolation
from tuningfork.domain.generation import RequestedSampling
from tuningfork.domain.hyperparameters import RequestedHyperparameters
from tuningfork.domain.tuning_job import TuningRequest

NAME = "tunedModels/number-generator-wl1qr34x2py"


def test_a_creation_says_what_the_caller_said():
    request = TuningRequest(
        base_model="models/gemini-1.0-pro-001",
        examples=(Conversation.pair("1", "2"),),
        hyperparameters=RequestedHyperparameters(epoch_count=5, batch_size=4, learning_rate=0.001),
        display_name="number generator",
        temperature=0.0,
    )

    assert dialect.render_creation(request) == {
        "baseModel": "models/gemini-1.0-pro-001",
        "displayName": "number generator",
        "temperature": 0.0,
        "tuningTask": {
            "hyperparameters": {"epochCount": 5, "batchSize": 4, "learningRate": 0.001},
            "trainingData": {"examples": {"examples": [{"textInput": "1", "output": "2"}]}},
        },
    }


def test_a_creation_leaves_out_what_the_service_decides():
    request = TuningRequest(base_model="models/a", examples=(Conversation.pair("1", "2"),))

    assert dialect.render_creation(request) == {
        "baseModel": "models/a",
        "tuningTask": {
            "hyperparameters": {},
            "trainingData": {"examples": {"examples": [{"textInput": "1", "output": "2"}]}},
        },
    }


def test_where_one_example_is_a_conversation_all_are_sent_as_such_in_their_order():
    chat = Conversation(turns=Conversation.pair("a", "b").turns * 2, system_instruction="c")
    request = TuningRequest(base_model="models/a", examples=(Conversation.pair("1", "2"), chat))

    user, model = ({"role": role, "parts": [{"text": text}]} for role, text in (("user", "a"), ("model", "b")))
    assert dialect.needs_conversations(request.examples)
    assert dialect.render_creation(request)["tuningTask"]["trainingData"]["examples"] == {
        "multiturnExamples": [
            {"contents": [{"role": "user", "parts": [{"text": "1"}]}, {"role": "model", "parts": [{"text": "2"}]}]},
            {"systemInstruction": {"parts": [{"text": "c"}]}, "contents": [user, model, user, model]},
        ]
    }


@pytest.mark.parametrize(
    ("rate", "sent"), [(math.nan, "NaN"), (math.inf, "Infinity"), (-math.inf, "-Infinity"), (0.5, 0.5)]
)
def test_numbers_that_json_cannot_write_are_sent_by_name(rate, sent):
    request = TuningRequest(
        base_model="models/a",
        examples=(Conversation.pair("1", "2"),),
        hyperparameters=RequestedHyperparameters(learning_rate=rate),
    )

    assert dialect.render_creation(request)["tuningTask"]["hyperparameters"] == {"learningRate": sent}


def test_a_question_carries_its_sampling():
    sampling = RequestedSampling(temperature=0.0, max_output_tokens=7, stop_sequences=("\n",), seed=1)

    assert dialect.render_question("LXIII", sampling) == {
        "contents": [{"role": "user", "parts": [{"text": "LXIII"}]}],
        "generationConfig": {"temperature": 0.0, "maxOutputTokens": 7, "stopSequences": ["\n"], "seed": 1},
    }


def test_an_operation_that_was_just_created_has_no_steps():
    operation = dialect.parse_operation(
        {"name": f"{NAME}/operations/bvl8dymw0fhw", "metadata": {"totalSteps": 38, "tunedModel": NAME}}
    )

    assert operation.tuned_model == NAME
    assert (operation.completed_steps, operation.total_steps, operation.losses) == (0, 38, ())
    assert not operation.done
    assert operation.error is None


def test_a_running_operation_shows_its_steps():
    operation = dialect.parse_operation(
        {
            "name": f"{NAME}/operations/41vni3zk0a47",
            "metadata": {
                "totalSteps": 19,
                "completedSteps": 1,
                "completedPercent": 5.263158,
                "snapshots": [{"step": 1, "meanLoss": 7.26, "computeTime": "2024-03-14T15:09:41.107263141Z"}],
                "tunedModel": NAME,
            },
        }
    )

    assert operation.completed_steps == 1
    assert operation.losses == (7.26,)
    assert operation.snapshots[0].epoch == 0
    assert operation.snapshots[0].compute_time == datetime(2024, 3, 14, 15, 9, 41, 107263, tzinfo=UTC)


def test_an_operation_that_failed_says_why():
    operation = dialect.parse_operation(
        {"name": "x", "metadata": {"tunedModel": NAME}, "done": True, "error": {"code": 1, "message": "cancelled"}}
    )

    assert operation.done
    assert operation.error == "cancelled"


def test_a_tuned_model_of_a_tuned_model_shows_its_root():
    entry = dialect.parse_tuned_model(
        {
            "name": NAME,
            "tunedModelSource": {"tunedModel": "tunedModels/first", "baseModel": "models/root"},
            "state": "ACTIVE",
            "createTime": "2024-03-14T15:09:04.511322Z",
        }
    )

    assert entry.base_model == "models/root"
    assert entry.create_time == datetime(2024, 3, 14, 15, 9, 4, 511322, tzinfo=UTC)


def test_a_text_is_all_parts_of_the_first_candidate():
    answer = {"candidates": [{"content": {"parts": [{"text": "LX"}, {"text": "IV"}], "role": "model"}}, {}]}

    assert dialect.parse_text(answer) == "LXIV"


def test_a_last_chunk_without_content_is_an_empty_text():
    assert dialect.parse_text({"candidates": [{"finishReason": "STOP", "index": 0}]}) == ""


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (
            {
                "promptFeedback": {
                    "blockReason": "SAFETY",
                    "safetyRatings": [
                        {"category": "HARM_CATEGORY_HATE_SPEECH", "probability": "LOW"},
                        {"category": "HARM_CATEGORY_DANGEROUS_CONTENT", "probability": "HIGH", "blocked": True},
                    ],
                }
            },
            "withholds the prompt, which it rates as harmful: dangerous content (HIGH).",
        ),
        (
            {"candidates": [{"finishReason": "SAFETY", "index": 0}]},
            "withholds the answer, which it rates as harmful: it",
        ),
    ],
)
def test_a_text_that_is_withheld_is_no_empty_one(answer, said):
    with pytest.raises(TextWithheld) as caught:
        dialect.parse_text(answer)
    assert said in caught.value.message


def test_a_refusal_carries_reason_and_violations():
    refusal = dialect.parse_refusal(
        {
            "error": {
                "code": 400,
                "message": "* CreateTunedModelRequest.tuned_model: no\n",
                "status": "INVALID_ARGUMENT",
                "details": [
                    {"@type": "…ErrorInfo", "reason": "API_KEY_INVALID", "domain": "googleapis.com"},
                    {"@type": "…BadRequest", "fieldViolations": [{"field": "tuned_model", "description": "no"}]},
                ],
            }
        }
    )

    assert refusal.message == "* CreateTunedModelRequest.tuned_model: no"
    assert refusal.reason == "API_KEY_INVALID"
    assert refusal.violations == (FieldViolation(field="tuned_model", description="no"),)


def test_an_access_token_may_be_longer_than_a_name():
    answer = {"accessToken": "x" * 700, "expireTime": "2026-03-01T12:00:00Z", "scopes": ["a"]}

    assert dialect.parse_access_token(answer).value == "x" * 700
