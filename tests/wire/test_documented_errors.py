"""Every documented error body that the routes here can give, compared whole (tests/data/gemini/errors.json).

Observed bodies must be equal. Recommended ones, for which no wording of the real service is known, must be equal in
code, status and paths; their sentences may say more, so they are compared by their beginning.
"""

import json
from pathlib import Path

import jwt
import pytest

from caller import TUTORIAL_BODY, turn

DOCUMENTED = json.loads((Path(__file__).parents[1] / "data" / "gemini" / "errors.json").read_text("utf-8"))
ERRORS = {error["id"]: error for error in DOCUMENTED["errors"]}

BASE = "models/echo-001"
FOREIGN_TOKEN = jwt.encode({"iss": "https://accounts.google.com"}, "x" * 32, "HS256")
TASK = TUTORIAL_BODY["tuningTask"]


def create(caller, changes, query="", **options):
    return caller.post(f"/v1beta/tunedModels{query}", {**TUTORIAL_BODY, **changes}, **options)


def generate(caller, body, name=BASE):
    return caller.post(f"/v1beta/{name}:generateContent", body)


def abc(caller):
    assert create(caller, {}, "?tunedModelId=abc").status_code == 200
    return "tunedModels/abc"


def failed_abc(caller):
    caller.workshop.executor.fail_before(1)
    abc(caller)
    caller.workshop.advance()
    return "tunedModels/abc"


def too_long(caller):
    examples = [{"textInput": "a" * (40_001 if index == 3 else 1), "output": "b"} for index in range(5)]
    return create(caller, {"tuningTask": {"trainingData": {"examples": {"examples": examples}}}})


def with_task(caller, **changes):
    return create(caller, {"tuningTask": {**TASK, **changes}})


def both_rates(caller):
    return with_task(caller, hyperparameters={"learningRate": 0.001, "learningRateMultiplier": 1})


PROVOKED = {
    "missing_credentials": lambda caller: caller.get("/v1beta/tunedModels", key=""),
    "invalid_api_key": lambda caller: caller.get("/v1beta/tunedModels", key="nonsense"),
    "invalid_bearer_token": lambda caller: caller.get(
        "/v1beta/tunedModels", key="", headers={"authorization": "Bearer nonsense"}
    ),
    "invalid_bearer_token_typed": lambda caller: caller.get(
        "/v1beta/tunedModels", key="", headers={"authorization": f"Bearer {FOREIGN_TOKEN}"}
    ),
    "insufficient_scope": lambda caller: caller.get(
        "/v1beta/tunedModels",
        key="",
        headers={"authorization": f"Bearer {caller.token('generative-language.retriever')}"},
    ),
    "tuned_model_not_found": lambda caller: caller.get("/v1beta/tunedModels/abc"),
    "tuned_model_forbidden": lambda caller: caller.get(f"/v1beta/{abc(caller)}", key=caller.bobs_key),
    "base_model_not_found": lambda caller: generate(caller, {"contents": [turn("x")]}, "models/abc"),
    "unknown_body_field": lambda caller: with_task(caller, foo=1),
    "unknown_body_field_top_level": lambda caller: generate(caller, {"contents": [turn("x")], "foo": 1}),
    "unknown_query_parameter": lambda caller: caller.get("/v1beta/tunedModels?foo=1"),
    "wrong_type": lambda caller: with_task(caller, hyperparameters={"epochCount": "abc"}),
    "oneof_conflict": both_rates,
    "contents_missing": lambda caller: generate(caller, {}),
    "parts_empty": lambda caller: generate(caller, {"contents": [{"role": "user"}]}),
    "bad_role": lambda caller: generate(caller, {"contents": [turn("x", "function")]}),
    "already_exists": lambda caller: create(caller, {}, f"?tunedModelId={abc(caller)[12:]}"),
    "still_creating": lambda caller: generate(caller, {"contents": [turn("x")]}, abc(caller)),
    "failed_model": lambda caller: generate(caller, {"contents": [turn("x")]}, failed_abc(caller)),
    "no_examples": lambda caller: with_task(caller, trainingData={"examples": {"examples": []}}),
    "input_too_long": too_long,
    "bad_tuned_model_id": lambda caller: create(caller, {}, "?tunedModelId=Bad_Id"),
    "bad_enum": lambda caller: caller.post(
        f"/v1beta/{abc(caller)}/permissions", {"granteeType": "USER", "role": "BOSS"}
    ),
    "not_the_owner": lambda caller: caller.post(
        f"/v1beta/{abc(caller)}:transferOwnership", {"emailAddress": "bob@example.com"}, key=caller.bobs_key
    ),
    "system_instruction_unsupported": lambda caller: generate(
        caller, {"contents": [turn("x")], "systemInstruction": turn("be brief")}, "models/gemini-1.0-pro-001"
    ),
}

RENAMED = {"system_instruction_unsupported": ("models/abc", "models/gemini-1.0-pro-001")}
"""What the documented body calls by a name that is not served here."""

SAYS_MORE = {"input_too_long", "bad_tuned_model_id"}
"""Recommended bodies whose sentences here tell what was given, too."""


@pytest.mark.parametrize("error_id", sorted(ERRORS.keys() - SAYS_MORE))
def test_every_documented_error_is_given_word_for_word(caller, error_id):
    answer = PROVOKED[error_id](caller)

    documented = ERRORS[error_id]
    body = json.dumps(documented["body"])
    assert answer.json() == json.loads(body.replace(*RENAMED.get(error_id, ("", ""))))
    assert answer.status_code == documented["httpStatus"]
    assert answer.headers["content-type"] == "application/json; charset=UTF-8"


@pytest.mark.parametrize("error_id", sorted(SAYS_MORE))
def test_a_recommended_error_may_say_more(caller, error_id):
    answer = PROVOKED[error_id](caller)

    given, recommended = answer.json()["error"], ERRORS[error_id]["body"]["error"]
    assert ERRORS[error_id]["evidence"].startswith("recommended")
    assert answer.status_code == given["code"] == recommended["code"]
    assert given["status"] == recommended["status"]
    assert given["message"].startswith(recommended["message"].rstrip())
    [violation] = given["details"][0]["fieldViolations"]
    [wanted] = recommended["details"][0]["fieldViolations"]
    assert violation["field"] == wanted["field"]
    assert violation["description"].startswith(wanted["description"].rstrip("."))


def test_every_documented_error_is_provoked():
    assert set(PROVOKED) == set(ERRORS)


@pytest.mark.parametrize("case", DOCUMENTED["totalSteps"], ids=str)
def test_steps_are_counted_as_observed(caller, case):
    examples = [{"textInput": str(number), "output": str(number + 1)} for number in range(case["examples"])]
    hyperparameters = {"epochCount": case["epochCount"], "batchSize": case["batchSize"]}

    answer = with_task(caller, hyperparameters=hyperparameters, trainingData={"examples": {"examples": examples}})

    assert answer.json()["metadata"]["totalSteps"] == case["totalSteps"]
