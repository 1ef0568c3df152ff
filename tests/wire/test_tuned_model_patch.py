"""tunedModels.patch, as section 9 of the wire specification tells it: masks, what a body may hold, what comes back."""

import json

import pytest

from caller import turn

PATH = "/v1beta/tunedModels/abc"
WHOLE = {
    "displayName": "counter",
    "description": "says the next number",
    "temperature": 0.25,
    "topP": 0.5,
    "topK": 7,
    "readerProjectNumbers": ["789", "9007199254740993"],
}
CLEARED = {"temperature": 0.7, "topP": 0.95, "topK": 64}


@pytest.fixture
def before(caller):
    """Ada's model as it shows itself, with names and readers."""
    caller.post("/v1beta/tunedModels?tunedModelId=abc", BODY)
    return caller.get(PATH).json()


BODY = {
    "displayName": "number generator",
    "description": "counts",
    "baseModel": "models/gemini-1.0-pro-001",
    "temperature": 0.5,
    "readerProjectNumbers": ["5"],
    "tuningTask": {"trainingData": {"examples": {"examples": [{"textInput": "1", "output": "2"}]}}},
}


def patch(caller, body, mask=None, **options):
    return caller.call("PATCH", f"{PATH}?updateMask={mask}" if mask is not None else PATH, body, **options)


def changed(before, after):
    """What is different, apart from the time of the change, which must have moved."""
    assert after["updateTime"] > before["updateTime"]
    names = [*before, *(name for name in after if name not in before)]
    return {name: after.get(name) for name in names if before.get(name) != after.get(name) and name != "updateTime"}


@pytest.mark.parametrize("name", WHOLE)
def test_without_a_mask_what_the_body_sets_is_changed(caller, before, name):
    answer = patch(caller, {name: WHOLE[name]})

    assert answer.status_code == 200
    assert changed(before, answer.json()) == {name: WHOLE[name]}
    assert caller.get(PATH).json() == answer.json()


def test_without_a_mask_all_of_it_is_changed_at_once(caller, before):
    assert changed(before, patch(caller, WHOLE).json()) == WHOLE


@pytest.mark.parametrize(
    "body", [{}, {"displayName": ""}, {"description": ""}, {"readerProjectNumbers": []}, {"temperature": None}, None]
)
def test_without_a_mask_nothing_is_cleared(caller, before, body):
    assert patch(caller, body).json() == before


def test_without_a_mask_zero_is_a_value_of_what_has_presence(caller, before):
    assert changed(before, patch(caller, {"temperature": 0}).json()) == {"temperature": 0}


@pytest.mark.parametrize(
    ("mask", "names"),
    [
        ("displayName", ["displayName"]),
        ("display_name", ["displayName"]),
        ("displayName,temperature", ["displayName", "temperature"]),
        ("display_name, topP,", ["displayName", "topP"]),
        ("top_k,topK", ["topK"]),
        ("readerProjectNumbers", ["readerProjectNumbers"]),
        ("*", list(WHOLE)),
    ],
)
def test_with_a_mask_only_what_it_names_is_changed(caller, before, mask, names):
    assert changed(before, patch(caller, WHOLE, mask).json()) == {name: WHOLE[name] for name in names}


@pytest.mark.parametrize("spelling", ["updateMask", "update_mask"])
def test_the_mask_is_known_by_both_its_names(caller, before, spelling):
    answer = caller.call("PATCH", f"{PATH}?{spelling}=description", WHOLE)
    assert changed(before, answer.json()) == {"description": WHOLE["description"]}


def test_an_empty_mask_is_none(caller, before):
    assert changed(before, patch(caller, {"description": "new"}, "").json()) == {"description": "new"}


@pytest.mark.parametrize("body", [{}, None, {"temperature": None, "displayName": ""}])
def test_what_is_masked_and_missing_is_cleared(caller, before, body):
    patch(caller, WHOLE)
    after = patch(caller, body, "displayName,description,temperature,topP,topK,readerProjectNumbers").json()

    assert {name: after.get(name) for name in WHOLE} == {
        "displayName": None,
        "description": None,
        "readerProjectNumbers": None,
        **CLEARED,
    }


def test_a_star_and_an_empty_body_clear_all_that_can_be_changed(caller, before):
    patch(caller, WHOLE)
    after = patch(caller, {}, "*").json()
    assert {name for name in WHOLE if name in after} == set(CLEARED)
    assert {name: after[name] for name in ("name", "baseModel", "createTime", "tuningTask", "state")} == {
        name: before[name] for name in ("name", "baseModel", "createTime", "tuningTask", "state")
    }


def test_a_whole_model_may_come_back_with_numbers_for_enums_and_the_rest_is_left_alone(caller, before):
    """As google-generativeai does it."""
    whole = caller.get(f"{PATH}?$alt=json;enum-encoding=int").json()
    body = {
        **whole,
        "name": "tunedModels/somebody-elses",
        "state": 3,
        "createTime": "1999-01-01T00:00:00Z",
        "displayName": "renamed",
        "description": "not masked",
        "temperature": 0.25,
    }

    answer = patch(caller, body, "displayName,temperature&$alt=json;enum-encoding=int")

    assert answer.json()["state"] == 1
    assert changed(whole, answer.json()) == {"displayName": "renamed", "temperature": 0.25}


def test_what_cannot_be_changed_is_left_alone_without_a_mask_too(caller, before):
    body = {
        "baseModel": "models/other",
        "tuningTask": {"hyperparameters": {"epochCount": 99}, "trainingData": {}},
        "description": "new",
    }
    assert changed(before, patch(caller, body).json()) == {"description": "new"}


@pytest.mark.parametrize(
    ("mask", "path", "fault"),
    [
        ("color", "color", "which is no field of TunedModel"),
        ("displayName,color", "color", "which is no field of TunedModel"),
        ("name", "name", "which cannot be changed"),
        ("state", "state", "which cannot be changed"),
        ("base_model", "base_model", "which cannot be changed"),
        ("tunedModelSource", "tunedModelSource", "which cannot be changed"),
        ("tuningTask", "tuningTask", "which cannot be changed"),
        ("tuningTask.hyperparameters.epochCount", "tuningTask.hyperparameters.epochCount", "which cannot be changed"),
        ("tuned_model.display_name", "tuned_model.display_name", "which is no field of TunedModel"),
    ],
)
def test_a_mask_that_names_anything_else_is_refused_whole(caller, before, mask, path, fault):
    answer = patch(caller, WHOLE, mask)

    reason = (
        f'update_mask names "{path}", {fault}; it may name display_name, description, temperature, top_p, top_k, '
        "reader_project_numbers, or be * for all of them"
    )
    assert answer.status_code == 400
    assert answer.json() == {
        "error": {
            "code": 400,
            "message": f"* UpdateTunedModelRequest.update_mask: {reason}\n",
            "status": "INVALID_ARGUMENT",
            "details": [
                {
                    "@type": "type.googleapis.com/google.rpc.BadRequest",
                    "fieldViolations": [{"field": "update_mask", "description": reason}],
                }
            ],
        }
    }
    assert caller.get(PATH).json() == before


@pytest.mark.parametrize(
    ("body", "field", "said"),
    [
        (
            {"displayName": "x" * 41},
            "tuned_model.display_name",
            "display_name must be at most 40 characters; it has 41",
        ),
        ({"temperature": 1.5}, "tuned_model.temperature", "temperature must be a number from 0 to 1; 1.5 was given"),
        ({"topP": 0}, "tuned_model.top_p", "top_p must be a number above 0 and at most 1; 0.0 was given"),
        ({"topK": -1}, "tuned_model.top_k", "top_k must be at least 1, or 0 for no limit; -1 was given"),
        (
            {"readerProjectNumbers": ["0"]},
            "tuned_model.reader_project_numbers[0]",
            f"a project number must be from 1 to {2**63 - 1}; 0 was given",
        ),
    ],
)
def test_wrong_values_are_told_as_they_are_on_create(caller, before, body, field, said):
    answer = patch(caller, body)

    error = answer.json()["error"]
    assert (answer.status_code, error["status"]) == (400, "INVALID_ARGUMENT")
    assert error["message"] == f"* UpdateTunedModelRequest.{field}: {said}\n"
    assert [violation["field"] for violation in error["details"][0]["fieldViolations"]] == [field]
    assert caller.get(PATH).json() == before


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (
            {"colour": "red"},
            "Invalid JSON payload received. Unknown name \"colour\" at 'tuned_model': Cannot find field.",
        ),
        ({"temperature": "warm"}, "Invalid value at 'tuned_model.temperature' (TYPE_FLOAT), \"warm\""),
        ({"displayName": 7}, "Invalid value at 'tuned_model.display_name' (TYPE_STRING), 7"),
    ],
)
def test_what_is_no_tuned_model_is_refused_even_where_it_is_not_masked(caller, before, body, message):
    answer = patch(caller, body, "description")
    assert (answer.status_code, answer.json()["error"]["message"]) == (400, message)


def test_another_parameter_is_refused(caller, before):
    answer = caller.call("PATCH", f"{PATH}?mask=description", {})
    assert answer.json()["error"]["message"] == (
        'Invalid JSON payload received. Unknown name "mask": Cannot bind query parameter. '
        "Field 'mask' could not be found in request message."
    )


def test_strangers_and_missing_models_are_told_as_everywhere(caller, before):
    stranger = patch(caller, {"description": "mine"}, key=caller.bobs_key)
    missing = caller.call("PATCH", "/v1beta/tunedModels/def", {"description": "x"})

    assert (stranger.status_code, stranger.json()["error"]["message"]) == (
        403,
        "You do not have permission to access tuned model tunedModels/abc",
    )
    assert (missing.status_code, missing.json()["error"]["message"]) == (
        404,
        "Tuned model tunedModels/def does not exist.",
    )


def test_a_post_that_says_it_is_a_patch_is_one(caller, before):
    answer = caller.post(PATH, {"description": "new"}, headers={"x-http-method-override": "PATCH"})
    assert changed(before, answer.json()) == {"description": "new"}


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
def test_it_is_served_under_every_version(caller, before, version):
    answer = caller.call("PATCH", f"/{version}/tunedModels/abc", {"description": "new"})
    assert changed(before, answer.json()) == {"description": "new"}


def test_new_defaults_are_used_at_once(caller, before):
    caller.workshop.advance()
    patch(caller, {"temperature": 0.125, "topK": 3})
    caller.post(f"{PATH}:generateContent", {"contents": [turn("1")]})

    used = caller.workshop.executor.generations[-1].sampling
    assert (used.temperature, used.top_k) == (0.125, 3)


def test_the_fields_of_the_answer_are_in_their_order(caller, before):
    assert list(json.loads(patch(caller, WHOLE).text)) == [
        "name",
        "baseModel",
        "displayName",
        "description",
        "state",
        "createTime",
        "updateTime",
        "tuningTask",
        "temperature",
        "topP",
        "topK",
        "readerProjectNumbers",
    ]
