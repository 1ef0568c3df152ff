"""Tuning a tuned model over HTTP: the request as SDKs write it, and what the models show of where they come from."""

import pytest

from caller import TUTORIAL_BODY, turn

ANY = "type.googleapis.com/google.ai.generativelanguage.v1beta"
LETTERS = {"examples": {"examples": [{"textInput": "a", "output": "b"}]}}
ROOT = "models/gemini-1.0-pro-001"
MISNAMED = "* CreateTunedModelRequest.tuned_model.tuned_model_source.tuned_model: tuned_model "


@pytest.fixture
def source(caller):
    """The name of an active model."""
    return caller.create_active(temperature=0.25, topK=3)


def continue_from(caller, source, **changes):
    """As google-generativeai sends it: both names in the source."""
    body = {
        "tunedModelSource": {"tunedModel": source, "baseModel": ROOT},
        "tuningTask": {"trainingData": LETTERS, "hyperparameters": {}},
        **changes,
    }
    return caller.post("/v1beta/tunedModels?tunedModelId=further", body)


def test_the_model_shows_both_names_and_no_base_everywhere(caller, source):
    operation = continue_from(caller, source).json()["name"]
    waiting = caller.get("/v1beta/tunedModels/further").json()
    caller.workshop.advance()
    done = caller.get("/v1beta/tunedModels/further").json()
    [listed] = [
        model for model in caller.get("/v1beta/tunedModels").json()["tunedModels"] if model["name"] == done["name"]
    ]
    response = caller.get(f"/v1/{operation}").json()["response"]

    for shown in (waiting, done, listed, response):
        assert shown["tunedModelSource"] == {"tunedModel": source, "baseModel": ROOT}
        assert "baseModel" not in shown
    assert list(done)[:2] == ["name", "tunedModelSource"]
    assert response == {"@type": f"{ANY}.TunedModel", **done}


def test_snake_case_and_a_source_without_its_root_will_do(caller, source):
    answer = continue_from(caller, source, tunedModelSource=None, tuned_model_source={"tuned_model": source})
    assert answer.status_code == 200
    assert caller.get("/v1beta/tunedModels/further").json()["tunedModelSource"]["baseModel"] == ROOT


def test_what_the_caller_says_of_the_root_is_passed_over(caller, source):
    wrong = {"tunedModel": source, "baseModel": "models/echo-001"}
    assert continue_from(caller, source, tunedModelSource=wrong).status_code == 200
    assert caller.get("/v1beta/tunedModels/further").json()["tunedModelSource"]["baseModel"] == ROOT


def test_the_defaults_are_inherited_from_the_source(caller, source):
    continue_from(caller, source)
    shown = caller.get("/v1beta/tunedModels/further").json()
    assert (shown["temperature"], shown["topP"], shown["topK"]) == (0.25, 0.95, 3)


def test_the_model_answers_with_what_both_have_learned(caller, source):
    continue_from(caller, source)
    caller.workshop.advance()
    caller.call("DELETE", f"/v1beta/{source}")
    answers = {
        prompt: caller.post("/v1/tunedModels/further:generateContent", {"contents": [turn(prompt)]}).json()
        for prompt in ("ninety nine", "a")
    }

    assert {prompt: answer["candidates"][0]["content"]["parts"] for prompt, answer in answers.items()} == {
        "ninety nine": [{"text": "one hundred"}],
        "a": [{"text": "b"}],
    }
    assert answers["a"]["modelVersion"] == "gemini-1.0-pro-001"


@pytest.mark.parametrize(
    ("changes", "status", "message"),
    [
        (
            {"baseModel": ROOT},
            400,
            "Invalid value at 'tuned_model' (oneof), oneof field 'source_model' is already set. Cannot set 'baseModel'",
        ),
        (
            {"tunedModelSource": {"tunedModel": ROOT}},
            400,
            f"{MISNAMED}must be the name of a tuned model, such as tunedModels/...; '{ROOT}' was given\n",
        ),
        (
            {"tunedModelSource": {"baseModel": ROOT}},
            400,
            f"{MISNAMED}is missing; name the tuned model to go on from, such as tunedModels/...\n",
        ),
        (
            {"tunedModelSource": {"tunedModel": "tunedModels/nothing"}},
            404,
            "Tuned model tunedModels/nothing does not exist.",
        ),
        (
            {"tunedModelSource": None},
            400,
            "* CreateTunedModelRequest.tuned_model.base_model: base_model is required, such as models/...\n",
        ),
    ],
)
def test_a_source_that_is_none_is_told(caller, source, changes, status, message):
    answer = continue_from(caller, source, **changes)
    assert (answer.status_code, answer.json()["error"]["message"]) == (status, message)


def test_a_source_that_is_not_ready_is_told(caller):
    answer = continue_from(caller, caller.create())
    error = answer.json()["error"]

    assert (answer.status_code, error["status"]) == (400, "FAILED_PRECONDITION")
    assert error["message"].endswith("cannot be tuned further: its state is CREATING, and it must be ACTIVE.")


def test_a_stranger_may_not_tune_on_it(caller, source):
    body = {**TUTORIAL_BODY, "baseModel": None, "tunedModelSource": {"tunedModel": source}}
    answer = caller.post("/v1beta/tunedModels", body, key=caller.bobs_key)

    assert (answer.status_code, answer.json()["error"]["message"]) == (
        403,
        f"You do not have permission to access tuned model {source}",
    )
