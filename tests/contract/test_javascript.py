"""@google/genai and @google/generative-ai, unmodified, in Node."""

import json
import re

import pytest

from contract.environments import NodeEnvironment

LAST_TO_TUNE = NodeEnvironment("google-genai-js-1.27.0")
UNDER_V1 = NodeEnvironment("google-genai-js-3.1.0")
FIRST = NodeEnvironment("google-generative-ai-js-0.24.1")
BASE = "models/gemini-1.5-flash-001-tuning"


@pytest.fixture(params=[LAST_TO_TUNE, UNDER_V1], ids=lambda client: client.name)
def client(request):
    return request.param


def error_in(message):
    """What the SDK puts into its message: the whole body of the answer."""
    return json.loads(message)["error"]


def test_it_tunes_with_examples_lists_and_cancels(told):
    tuned = told(LAST_TO_TUNE, "google_genai_js/tune.mjs", DISPLAY_NAME="Node counts")

    name, state = tuned["begun"]
    assert re.fullmatch(r"tunedModels/node-counts-[a-z0-9]{11,12}", name)
    assert state == "JOB_STATE_QUEUED"
    assert tuned["state"] == "JOB_STATE_SUCCEEDED"
    assert tuned["base_model"] == BASE
    assert tuned["model"] == name
    assert tuned["in_order"]
    assert tuned["answer"]
    assert tuned["listed"] == [True, True]
    # A cancelled model that has taken a step can be used; one that has not cannot.
    assert tuned["stopped"] in {"JOB_STATE_SUCCEEDED", "JOB_STATE_FAILED"}


def test_it_lists_reads_cancels_changes_and_deletes(told, client, short_and_long_run):
    name, running = short_and_long_run
    managed = told(client, "google_genai_js/manage.mjs", MODEL=name, RUNNING=running)

    assert managed["job"] == [name, "JOB_STATE_SUCCEEDED", name, BASE]
    assert managed["running"] == "JOB_STATE_RUNNING"
    assert managed["stopped"] == "JOB_STATE_SUCCEEDED"
    assert BASE in managed["bases"]
    assert {name, running} <= set(managed["tuned"])
    assert managed["got"] == [name, f"short {name[-8:]}", BASE]
    assert managed["updated"] == [name, "Renamed", "Counts."]
    kind, status, message = managed["after"]
    assert [kind, status] == ["ApiError", 404]
    assert error_in(message)["message"] == f"Tuned model {name} does not exist."


def test_a_tuned_model_answers_streams_counts_and_chats(told, client, counting, answer_of):
    answered = told(client, "google_genai_js/generate.mjs", MODEL=counting, PROMPT="ninety nine")

    expected = answer_of(counting, "ninety nine")
    assert answered["text"] == answered["configured"] == "".join(answered["pieces"]) == expected
    assert len(answered["pieces"]) > 1
    assert answered["role"] == "model"
    assert answered["finish_reason"] == answered["streamed_finish_reason"] == "STOP"
    prompt_tokens, answer_tokens, total_tokens = answered["usage"]
    assert total_tokens == prompt_tokens + answer_tokens
    assert 0 < answered["counted"] <= prompt_tokens
    assert answered["cut"] == [expected[:1], "MAX_TOKENS"]
    assert answered["chat"] == ["user", "model", "user", "model"]
    assert answered["second"]


def test_a_model_under_its_own_name_answers_in_json_in_one_word_and_as_instructed(told, client, own_counting):
    answered = told(client, "google_genai_js/json_mode.mjs", MODEL=own_counting)

    assert answered["order"] == ["about", "number"]
    assert answered["shaped"]["number"] in range(100)
    assert len(answered["shaped"]["about"]) <= 2
    assert set(answered["shaped"]["about"]) <= {"even", "odd", "prime"}
    assert answered["chosen"] in {"even", "odd"}
    assert answered["instructed"]


def test_what_cannot_be_done_throws_an_error_that_says_why(told, client, counting):
    refused = told(client, "google_genai_js/refusals.mjs", MODEL=counting)

    bad_key = refused.pop("use a bad key")
    assert bad_key[0] == 400
    assert error_in(bad_key[1])["message"] == "API key not valid. Please pass a valid API key."
    assert len(refused) == 3
    for status, message in refused.values():
        assert status == 404
        assert "Tuned model tunedModels/nowhere does not exist." in message


def test_tuning_with_a_release_that_sends_no_data_is_refused_with_the_reason(told):
    status, message = told(UNDER_V1, "google_genai_js/tune_without_data.mjs")

    assert status == 400
    assert "tuning_task.training_data: at least one example is required" in error_in(message)["message"]


def test_the_first_sdk_answers_streams_counts_and_chats(told, counting, answer_of):
    answered = told(FIRST, "google_generative_ai_js/generate.mjs", MODEL=counting, PROMPT="ninety nine")

    expected = answer_of(counting, "ninety nine")
    assert answered["text"] == answered["configured"] == answered["aggregated"] == expected
    assert "".join(answered["pieces"]) == expected
    assert len(answered["pieces"]) > 1
    assert answered["finish_reason"] == "STOP"
    prompt_tokens, answer_tokens, total_tokens = answered["usage"]
    assert total_tokens == prompt_tokens + answer_tokens
    assert 0 < answered["counted"] <= prompt_tokens
    assert answered["chat"] == ["user", "model", "user", "model"]
    assert answered["second"]
    assert answered["refused"][0] == 404
    assert "Tuned model tunedModels/nowhere does not exist." in answered["refused"][1]
