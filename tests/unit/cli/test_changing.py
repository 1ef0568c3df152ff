"""`tuningfork update`."""

import pytest


@pytest.fixture
def tuned(service):
    service.create(
        {
            "baseModel": "models/gemini-1.0-pro-001",
            "displayName": "number generator",
            "tuningTask": {
                "hyperparameters": {},
                "trainingData": {"examples": {"examples": [{"textInput": "1", "output": "2"}]}},
            },
        },
        "mine",
    )
    return service.tuned["tunedModels/mine"]


@pytest.mark.parametrize("name", ["mine", "tunedModels/mine"])
def test_what_is_named_is_changed_and_the_models_name_printed(tuningfork, tuned, name):
    ended = tuningfork(
        "update", name, "--display-name", "counter", "--temperature", "0", "--top-p", "0.5", "--top-k", "3"
    )

    assert (ended.code, ended.output) == (0, "tunedModels/mine\n")
    assert {field: tuned[field] for field in ("displayName", "temperature", "topP", "topK")} == {
        "displayName": "counter",
        "temperature": 0.0,
        "topP": 0.5,
        "topK": 3,
    }
    assert "description" not in tuned


def test_readers_are_all_those_that_are_named(tuningfork, tuned):
    tuningfork("update", "mine", "--reader-project-number", "123", "--reader-project-number", "9007199254740993")
    assert tuned["readerProjectNumbers"] == ["123", "9007199254740993"]


def test_what_is_cleared_is_masked_without_a_value(tuningfork, tuned):
    tuned["temperature"] = 0.5
    tuningfork("update", "mine", "--clear", "temperature", "--clear", "reader-project-numbers", "--description", "new")
    assert (tuned["temperature"], tuned["readerProjectNumbers"], tuned["description"]) == ("", "", "new")


def test_a_change_of_nothing_is_wrong_usage(tuningfork, tuned):
    ended = tuningfork("update", "mine")
    assert ended.code == 2
    assert "Nothing to change" in ended.errors


def test_what_is_given_cannot_be_cleared_too(tuningfork, tuned):
    ended = tuningfork("update", "mine", "--top-k", "3", "--clear", "top-k")
    assert ended.code == 2
    assert "--top-k is both given and cleared" in ended.errors


def test_what_cannot_be_cleared_is_told(tuningfork, tuned):
    ended = tuningfork("update", "mine", "--clear", "state")
    assert ended.code == 2
    assert "'state' is none of display-name" in ended.errors


def test_the_services_refusal_is_told(tuningfork, tuned):
    ended = tuningfork("update", "mine", "--display-name", "x" * 41)
    assert ended.code == 1
    assert "display_name must be at most 40 characters" in ended.errors


def test_a_missing_model_is_told(tuningfork):
    ended = tuningfork("update", "nobody", "--description", "x")
    assert (ended.code, ended.errors) == (1, "Error: Tuned model tunedModels/nobody does not exist.\n")
