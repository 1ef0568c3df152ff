"""Creating with a validation set, and evaluations and checkpoints, over HTTP."""

import pytest

BASE = "models/echo-001"
PAIRS = [{"textInput": str(number), "output": str(number + 1)} for number in range(1, 16)]
TALK = {"contents": [{"role": role, "parts": [{"text": "x"}]} for role in ("user", "model", "user", "model")]}


def body(validation, examples=PAIRS, **changes):
    hyperparameters = {"epochCount": 5, "batchSize": 4, "learningRate": 0.001}
    task = {
        "trainingData": {"examples": {"examples": examples}},
        "hyperparameters": hyperparameters,
        "validation": validation,
    }
    return {"baseModel": BASE, "tuningTask": task, **changes}


def create(caller, validation, **changes):
    return caller.post("/tuningfork/v1/tunedModels", body(validation, **changes))


def created(caller, validation, **changes):
    answer = create(caller, validation, **changes)
    assert answer.status_code == 200, answer.text
    caller.workshop.advance()
    return answer.json()["metadata"]["tunedModel"]


def known_soon(**further):
    return {"examples": {"examples": PAIRS[:8]}, "evaluateEvery": 1, **further}


def test_a_share_is_held_out_and_the_answer_says_how_many_examples_that_is(caller):
    answer = create(caller, {"heldOutPercent": 20}).json()
    metadata = answer["metadata"]
    assert (metadata["exampleCount"], metadata["validationExampleCount"]) == ("12", "3")
    assert metadata["totalSteps"] == 15
    # The Gemini API's own methods know nothing of it.
    assert (
        not {"exampleCount", "validationExampleCount"}
        & caller.get(f"/v1beta/{answer['name']}").json()["metadata"].keys()
    )


def test_evaluations_are_told_with_the_best_and_why_the_job_stopped(caller):
    name = created(caller, known_soon(earlyStopping={"patience": 2}))
    found = caller.get(f"/tuningfork/v1/{name}/evaluations?pageSize=2").json()
    assert [(each["step"], each["meanLoss"], each["targetCount"]) for each in found["evaluations"]] == [
        (1, 0.5, "8"),
        (2, 0, "8"),
    ]
    assert found["best"] == found["evaluations"][1]
    assert (found["exampleCount"], found["validationExampleCount"], found["evaluateEvery"]) == ("15", "8", 1)
    assert found["stoppedEarly"].startswith(
        "It stopped early, after step 4 of 19: the validation loss after step 2, 0,"
    )
    rest = caller.get(f"/tuningfork/v1/{name}/evaluations?pageSize=2&pageToken={found['nextPageToken']}").json()
    assert [each["step"] for each in rest["evaluations"]] == [3, 4]
    assert "nextPageToken" not in rest

    operation = caller.get(f"/v1beta/{caller.operation_of(name)}").json()
    assert (operation["done"], operation["metadata"]["completedPercent"]) == (True, 100)
    assert (operation["metadata"]["completedSteps"], operation["metadata"]["totalSteps"]) == (4, 19)


def test_the_checkpoints_are_listed_and_one_is_made_the_default(caller):
    name = created(caller, known_soon(keepBest=True))
    best, last = caller.get(f"/tuningfork/v1/{name}/checkpoints").json()["checkpoints"]
    assert (best["number"], best["step"], best["default"], best["evaluation"]["meanLoss"]) == (2, 2, True, 0)
    assert (last["number"], last["step"], last["meanLoss"], "default" in last) == (3, 19, 8 / 19, False)

    answer = caller.post(f"/tuningfork/v1/{name}:useCheckpoint", {"checkpoint": 3})
    assert [each.get("default", False) for each in answer.json()["checkpoints"]] == [False, True]
    assert answer.json() == caller.get(f"/tuningfork/v1/{name}/checkpoints").json()


@pytest.mark.parametrize(
    ("asked", "said"), [({}, "checkpoint is missing"), ({"checkpoint": 1}, "one of 2, 3; 1 was given")]
)
def test_a_number_that_no_checkpoint_has_is_refused(caller, asked, said):
    name = created(caller, known_soon(keepBest=True))
    answer = caller.post(f"/tuningfork/v1/{name}:useCheckpoint", asked)
    assert answer.status_code == 400
    assert said in answer.json()["error"]["message"]


def test_a_model_without_a_validation_set_has_its_last_checkpoint_and_no_evaluations(caller):
    name = caller.create_active()
    [only] = caller.get(f"/tuningfork/v1/{name}/checkpoints").json()["checkpoints"]
    assert (only["number"], only["default"], "evaluation" in only) == (1, True, False)
    assert "evaluations" not in caller.get(f"/tuningfork/v1/{name}/evaluations").json()


@pytest.mark.parametrize(
    ("validation", "field"),
    [
        ({"heldOutPercent": 80}, "held_out_percent"),
        ({"keepBest": True}, "keep_best"),
        ({"earlyStopping": {"patience": 0}, "heldOutPercent": 20}, "early_stopping.patience"),
        ({"evaluateEvery": -1, "heldOutPercent": 20}, "evaluate_every"),
        ({"examples": {"examples": []}}, "examples"),
        ({"examples": {"examples": [{"output": "x"}]}}, "examples.examples[0].text_input"),
        ({"examples": {"examples": [PAIRS[0], {"textInput": "x"}]}}, "examples.examples[1].output"),
        (
            {
                "examples": {
                    "examples": [PAIRS[0]],
                    "multiturnExamples": [TALK, {**TALK, "contents": TALK["contents"][:1]}],
                }
            },
            "examples.multiturn_examples[1].turns",
        ),
    ],
)
def test_faults_are_told_by_their_place_in_the_body(caller, validation, field):
    answer = create(caller, validation)
    assert answer.status_code == 400
    [details] = answer.json()["error"]["details"]
    assert [each["field"] for each in details["fieldViolations"]] == [f"tuned_model.tuning_task.validation.{field}"]


def test_faults_of_the_examples_keep_their_places_beside_a_validation_set(caller):
    answer = create(caller, {"heldOutPercent": 20}, examples=[*PAIRS, {"textInput": "x"}])
    [details] = answer.json()["error"]["details"]
    [violation] = details["fieldViolations"]
    assert violation["field"] == "tuned_model.tuning_task.training_data.examples.examples[15].output"


def test_the_gemini_apis_methods_know_no_validation_set(caller):
    for version in ("v1beta", "v1alpha"):
        answer = caller.post(f"/{version}/tunedModels", body({"heldOutPercent": 20}))
        assert answer.status_code == 400
        assert "validation" in answer.json()["error"]["message"]


def ask(caller, name, checkpoint, method="generateContent", key=None):
    said = {"contents": [{"role": "user", "parts": [{"text": "seven"}]}]}
    return caller.post(f"/tuningfork/v1/{name}/checkpoints/{checkpoint}:{method}", said, key=key)


def test_each_checkpoint_answers_with_its_own_weights_whichever_is_the_default(caller):
    name, asked = created(caller, known_soon(keepBest=True)), []

    for number in (2, 3):
        assert ask(caller, name, number).status_code == 200
        asked.append(caller.workshop.executor.generations[-1].adapter)
    assert None not in asked
    assert asked[0] != asked[1]


@pytest.mark.parametrize("checkpoint", [1, 4, "x", "-2", "٣"])
def test_a_checkpoint_that_is_not_there_cannot_be_asked(caller, checkpoint):
    name = created(caller, known_soon(keepBest=True))

    answer = ask(caller, name, checkpoint)

    assert answer.status_code in {403, 404}
    assert f"of {name} does not exist" in answer.json()["error"]["message"]


def test_a_stranger_may_not_ask_a_checkpoint(caller):
    name = created(caller, known_soon(keepBest=True))

    assert ask(caller, name, 2, key=caller.bobs_key).status_code == 403
    assert ask(caller, name, 2, "countTokens", key=caller.bobs_key).status_code == 403


def test_what_requests_to_a_base_may_contain_is_told_for_each_of_its_names(caller):
    told = {each["name"]: each for each in caller.get("/tuningfork/v1/models").json()["models"]}
    listed = {each["name"]: each for each in caller.get("/v1beta/models?pageSize=1000").json()["models"]}

    assert told.keys() == listed.keys()
    assert told[BASE]["jsonMode"] is True
    assert {name: each["outputTokenLimit"] for name, each in told.items()} == {
        name: each["outputTokenLimit"] for name, each in listed.items()
    }
    assert {each["systemInstruction"] for each in told.values()} == {True, False}
