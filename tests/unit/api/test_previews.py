"""`POST /tuningfork/v1/tunedModels:preview` takes what creating takes, and shows what would be trained."""

import pytest

from caller import TUTORIAL_BODY

PREVIEW = "/tuningfork/v1/tunedModels:preview"


def test_the_tutorial_is_shown_before_it_begins(caller):
    answer = caller.post(PREVIEW, TUTORIAL_BODY)

    assert answer.status_code == 200
    told = answer.json()
    examples = told.pop("examples")
    assert told == {
        "baseModel": "models/gemini-1.0-pro-001",
        "totalSteps": 19,
        "hyperparameters": {"epochCount": 5, "batchSize": 4, "learningRate": 0.001},
        "exampleCount": 15,
        "totalTokenCount": 53,
        "trainedTokenCount": 35,
        "longestExampleTokenCount": 6,
        "longestExample": 4,
        "contextTokenCount": 16384,
        "temperature": 0.7,
        "answers": "FREE",
        "adapterRank": 4,
        "adapterAlpha": 16,
    }
    assert examples[2] == {
        "segments": [
            {"text": "-3", "trained": False, "tokenCount": 1},
            {"text": "-2<end>", "trained": True, "tokenCount": 2},
        ],
        "tokenCount": 3,
        "trainedTokenCount": 2,
    }
    assert len(examples) == 3
    assert caller.get("/v1beta/tunedModels").json() == {}


def test_the_number_of_examples_and_the_usual_options_can_be_chosen(caller):
    answer = caller.post(f"{PREVIEW}?examples=1&fields=examples.segments.text&prettyPrint=false", TUTORIAL_BODY)

    assert answer.text == '{"examples":[{"segments":[{"text":"1"},{"text":"2<end>"}]}]}\n'


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        {},
        {**TUTORIAL_BODY, "foo": 1},
        {**TUTORIAL_BODY, "baseModel": "models/nobody"},
        {"baseModel": "models/gemini-1.0-pro-001", "tuningTask": {}},
        {**TUTORIAL_BODY, "displayName": "x" * 41, "temperature": 3},
        {"tunedModelSource": {"tunedModel": "tunedModels/nobody"}, "tuningTask": TUTORIAL_BODY["tuningTask"]},
    ],
)
def test_whatever_creating_refuses_is_refused_with_the_same_answer(caller, body):
    previewed, created = caller.post(PREVIEW, body), caller.post("/v1beta/tunedModels", body)

    assert previewed.status_code >= 400
    assert (previewed.status_code, previewed.text) == (created.status_code, created.text)


def test_a_number_of_examples_out_of_bounds_is_told(caller):
    answer = caller.post(f"{PREVIEW}?examples=21", TUTORIAL_BODY)

    assert answer.status_code == 400
    assert "examples must be a whole number from 0 to 20; 21 was given" in answer.json()["error"]["message"]


def test_a_stranger_sees_nothing(caller):
    assert caller.post(PREVIEW, TUTORIAL_BODY, key="").status_code == 403
    assert caller.post(PREVIEW, TUTORIAL_BODY, key="wrong").status_code == 400


def test_only_posting_previews(caller):
    assert caller.get(PREVIEW).status_code in {404, 405}
