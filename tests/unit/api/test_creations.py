"""`POST /tuningfork/v1/tunedModels` creates what the Gemini API creates, with a rank of the adapter."""

import pytest

from caller import TUTORIAL_BODY

CREATE = "/tuningfork/v1/tunedModels"
PREVIEW = f"{CREATE}:preview"


def test_the_answer_is_that_of_the_gemini_api(caller):
    own = caller.post(f"{CREATE}?tunedModelId=own", TUTORIAL_BODY)
    theirs = caller.post("/v1beta/tunedModels?tunedModelId=theirs", TUTORIAL_BODY).json()

    assert own.status_code == 200
    told = own.json()
    assert told["metadata"] == theirs["metadata"] | {"tunedModel": "tunedModels/own"}
    assert caller.get(f"/v1beta/{told['name']}").json()["metadata"] == told["metadata"]


def test_the_adapter_has_the_rank_that_was_asked_for_and_the_usual_alpha(caller):
    assert caller.post(f"{CREATE}?tunedModelId=wide&adapterRank=32", TUTORIAL_BODY).status_code == 200

    assignment = caller.workshop.advance()

    assert (assignment.adapter.rank, assignment.adapter.alpha) == (32, 16.0)
    shown = caller.get("/tuningfork/v1/tunedModels/wide/residence").json()
    assert (shown["adapterRank"], shown["adapterAlpha"]) == (32, 16)


def test_conversations_are_taken_too(caller):
    contents = [{"role": "user", "parts": [{"text": "1"}]}, {"role": "model", "parts": [{"text": "2"}]}]
    data = {"examples": {"multiturnExamples": [{"contents": contents}]}}

    body = {"baseModel": "models/echo-001", "tuningTask": {"trainingData": data}}

    assert caller.post(f"{CREATE}?adapter_rank=1", body).status_code == 200


@pytest.mark.parametrize("path", [CREATE, PREVIEW])
@pytest.mark.parametrize(
    ("rank", "said"),
    [
        ("0", "adapter_rank must be a whole number from 1 to 256; 0 was given"),
        ("-1", "adapter_rank must be a whole number from 1 to 256; -1 was given"),
        ("257", "adapter_rank must be a whole number from 1 to 256; 257 was given"),
        ("4.5", "adapter_rank"),
        ("eight", "adapter_rank"),
    ],
)
def test_a_rank_that_no_adapter_can_have_is_refused(caller, path, rank, said):
    answer = caller.post(f"{path}?adapterRank={rank}", TUTORIAL_BODY)

    assert answer.status_code == 400
    assert said in answer.json()["error"]["message"]


@pytest.mark.parametrize("path", [CREATE, PREVIEW])
def test_a_model_that_is_tuned_further_keeps_its_rank(caller, path):
    source = caller.create_active()
    further = {"tunedModelSource": {"tunedModel": source}, "tuningTask": TUTORIAL_BODY["tuningTask"]}

    refused = caller.post(f"{path}?adapterRank=4", further)

    assert refused.status_code == 400
    assert "a model that is tuned further keeps the rank that it has" in refused.json()["error"]["message"]
    assert caller.post(path, further).status_code == 200


def test_a_preview_tells_the_shape(caller):
    usual, wide = (caller.post(f"{PREVIEW}{query}", TUTORIAL_BODY).json() for query in ("", "?adapterRank=32"))

    assert (usual["adapterRank"], usual["adapterAlpha"]) == (4, 16)
    assert (wide["adapterRank"], wide["adapterAlpha"]) == (32, 16)


def test_the_gemini_api_has_no_such_parameter(caller):
    answer = caller.post("/v1beta/tunedModels?adapterRank=4", TUTORIAL_BODY)

    assert answer.status_code == 400
    assert "adapterRank" in answer.json()["error"]["message"]
