"""google-genai, unmodified: the last release that sends training data, and one that speaks v1.

Key and address reach it through the variables that it reads itself: its programs say `genai.Client()` and no more.
"""

import re

import pytest

from contract.environments import PythonEnvironment

LAST_TO_TUNE = PythonEnvironment("google-genai-1.46.0")
UNDER_V1 = PythonEnvironment("google-genai-3.3.0")
BASE = "models/gemini-1.5-flash-001-tuning"


@pytest.fixture(params=[LAST_TO_TUNE, UNDER_V1], ids=lambda client: client.name)
def client(request):
    return request.param


def test_it_tunes_with_examples_lists_and_cancels(told):
    tuned = told(LAST_TO_TUNE, "google_genai/tune.py", DISPLAY_NAME="Python counts")

    name, state = tuned["begun"]
    assert re.fullmatch(r"tunedModels/python-counts-[a-z0-9]{11,12}", name)
    assert state == "JOB_STATE_QUEUED"
    assert tuned["state"] == "JOB_STATE_SUCCEEDED"
    assert tuned["succeeded"]
    assert tuned["base_model"] == BASE
    assert tuned["model"] == tuned["endpoint"] == name
    assert tuned["in_order"]
    assert tuned["answer"]
    assert tuned["listed"] == [True, True]
    # A cancelled model that has taken a step can be used; one that has not cannot.
    assert tuned["stopped"] in {"JOB_STATE_SUCCEEDED", "JOB_STATE_FAILED"}


def test_it_lists_reads_cancels_changes_and_deletes(told, client, short_and_long_run):
    name, running = short_and_long_run
    managed = told(client, "google_genai/manage.py", MODEL=name, RUNNING=running, FILTER=f"owner:me short {name[-8:]}")

    assert managed["job"] == [name, "JOB_STATE_SUCCEEDED", name, BASE]
    assert managed["in_order"]
    assert managed["running"] == "JOB_STATE_RUNNING"
    assert managed["stopped"] == "JOB_STATE_SUCCEEDED"
    assert BASE in managed["bases"]
    assert {name, running} <= set(managed["tuned"])
    assert managed["found"] == [name]
    assert managed["got"] == [name, f"short {name[-8:]}", BASE]
    assert managed["updated"] == [name, "Renamed", "Counts."]
    assert managed["again"] == ["Renamed", "Counts."]
    assert managed["after"] == [404, "NOT_FOUND", f"Tuned model {name} does not exist."]


def test_a_tuned_model_answers_streams_counts_and_chats(told, client, counting, answer_of):
    answered = told(client, "google_genai/generate.py", MODEL=counting, PROMPT="ninety nine")

    expected = answer_of(counting, "ninety nine")
    assert answered["text"] == answered["configured"] == "".join(answered["pieces"]) == expected
    assert answered["without_blocking"] == [expected, expected]
    assert len(answered["pieces"]) > 1
    assert answered["role"] == "model"
    assert answered["finish_reason"] == answered["streamed_finish_reason"] == "STOP"
    assert answered["model_version"]
    prompt_tokens, answer_tokens, total_tokens = answered["usage"]
    assert total_tokens == prompt_tokens + answer_tokens
    assert 0 < answered["counted"] <= prompt_tokens
    assert answered["cut"] == [expected[:1], "MAX_TOKENS"]
    assert answered["chat"] == ["user", "model", "user", "model"]
    assert answered["second"]


def test_a_model_under_its_own_name_answers_in_json_in_one_word_and_as_instructed(told, client, own_counting):
    answered = told(client, "google_genai/json_mode.py", MODEL=own_counting)

    shaped = answered["shaped"]
    assert {"number", "about"} <= set(shaped) <= {"number", "about", "nearest_square"}
    assert shaped["number"] in range(100)
    assert len(shaped["about"]) in {1, 2}
    assert set(shaped["about"]) <= {"even", "odd", "prime"}
    assert answered["parsed"]
    assert set(answered["by_json_schema"]) == {"next"}
    assert answered["by_json_schema"]["next"] in range(100)
    assert answered["chosen"] in {"even", "odd"}
    assert answered["instructed"]


def test_what_cannot_be_done_raises_a_client_error_that_says_why(told, client, counting):
    refused = told(client, "google_genai/refusals.py", MODEL=counting)

    nowhere = [404, "NOT_FOUND", "Tuned model tunedModels/nowhere does not exist."]
    assert refused.pop("read a model that is not there") == nowhere
    assert refused.pop("ask a model that is not there") == nowhere
    assert refused.pop("stream from a model that is not there") == nowhere
    code, status, message = refused.pop("ask a base that is not there")
    assert [code, status] == [404, "NOT_FOUND"]
    assert message.startswith("models/nothing is not found for API version v1")
    assert refused == {
        "ask for a system instruction": [
            *(400, "INVALID_ARGUMENT"),
            f"Developer instruction is not enabled for {counting}",
        ],
        "ask for JSON": [400, "INVALID_ARGUMENT", f"JSON mode is not enabled for {counting}"],
        "use a bad key": [400, "INVALID_ARGUMENT", "API key not valid. Please pass a valid API key."],
    }


def test_tuning_with_a_release_that_sends_no_data_is_refused_with_the_reason(told):
    code, status, message = told(UNDER_V1, "google_genai/tune_without_data.py")

    assert [code, status] == [400, "INVALID_ARGUMENT"]
    assert "tuning_task.training_data" in message
    assert "at least one example is required" in message
