"""`learningRateMultiplier` comes back to those who can read it, and to nobody who breaks on it (section 7.4)."""

import json
from pathlib import Path

import pytest

from caller import TUTORIAL_BODY

RECORDED = json.loads((Path(__file__).parents[1] / "data" / "gemini" / "client_requests.json").read_text("utf-8"))
HEADERS = sorted(
    {
        (request["client"], request["headers"]["x-goog-api-client"])
        for request in RECORDED["requests"]
        if "x-goog-api-client" in request["headers"]
    }
)
GOOGLE_GENERATIVEAI = [header for client, header in HEADERS if "google-generativeai" in client]
NEWER_SDKS = [header for client, header in HEADERS if "genai-sdk/" in header]
OVER_GRPC = [
    # google-generativeai's operation client there, which names only what it is made of.
    "gl-python/3.11.7 grpc/1.76.0 gax/2.28.1",
    "gl-python/3.11.7 gax/2.28.1 pb/6.33.1",
]

TASK = TUTORIAL_BODY["tuningTask"]
BODY = {**TUTORIAL_BODY, "tuningTask": {**TASK, "hyperparameters": {"learningRateMultiplier": 2, "epochCount": 1}}}


def answers_of_a_whole_life(caller, headers):
    """Every answer that shows a model or an operation, from its making to its end."""
    created = caller.post("/v1beta/tunedModels?tunedModelId=abc", BODY, headers=headers)
    operation = created.json()["name"]
    caller.workshop.advance()
    looks = [
        caller.get(path, headers=headers)
        for path in (
            "/v1beta/tunedModels",
            "/v1beta/tunedModels/abc",
            f"/v1beta/{operation}",
            "/v1beta/tunedModels/abc/operations",
        )
    ]
    changed = caller.call("PATCH", "/v1beta/tunedModels/abc", {"description": "x"}, headers=headers)
    return [created.text, changed.text, *(look.text for look in looks)]


def shown_rates(text):
    return {name: text.count(f'"{name}"') for name in ("learningRate", "learningRateMultiplier")}


def test_the_recordings_know_both_ways_in_which_google_generativeai_names_itself():
    assert {header.partition("/")[0] for header in GOOGLE_GENERATIVEAI} == {"genai-py", "gl-python"}
    assert len(NEWER_SDKS) >= 6


@pytest.mark.parametrize("header", [*GOOGLE_GENERATIVEAI, *OVER_GRPC, "genai-js/0.24.1", "something/1.0"])
def test_whoever_may_break_on_it_is_shown_the_rate_that_is_used(caller, header):
    shown = [shown_rates(text) for text in answers_of_a_whole_life(caller, {"x-goog-api-client": header})]

    assert [rates["learningRateMultiplier"] for rates in shown] == [0] * len(shown)
    # Once wherever a model is shown: not in the first answer, which only promises one.
    assert [rates["learningRate"] for rates in shown] == [0, 1, 1, 1, 1, 1]


@pytest.mark.parametrize("headers", [*({"x-goog-api-client": header} for header in NEWER_SDKS), {}])
def test_whoever_can_read_it_is_shown_what_was_asked_for_and_only_that(caller, headers):
    shown = [shown_rates(text) for text in answers_of_a_whole_life(caller, headers)]

    assert [rates["learningRateMultiplier"] for rates in shown] == [0, 1, 1, 1, 1, 1]
    assert [rates["learningRate"] for rates in shown] == [0] * len(shown)


def test_what_is_trained_is_the_same_for_all(caller):
    answers_of_a_whole_life(caller, {})
    [assignment] = caller.workshop.executor.assignments
    assert assignment.hyperparameters.learning_rate == 0.002


def test_a_rate_that_was_given_or_left_out_is_shown_as_a_rate_to_all(caller):
    for hyperparameters, rate in (({"learningRate": 0.005}, 0.005), ({}, 0.001)):
        name = caller.create(tuningTask={**TASK, "hyperparameters": hyperparameters})
        shown = caller.get(f"/v1beta/{name}").json()["tuningTask"]["hyperparameters"]
        assert shown == {"epochCount": 5, "batchSize": 4, "learningRate": rate}
