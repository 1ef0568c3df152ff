"""`tuningfork import`: an adapter directory becomes a tuned model, or a sentence says why not."""

import json

import pytest

import peft_adapters


@pytest.fixture
def adapter(tmp_path):
    return peft_adapters.written(tmp_path / "number-words")


def test_the_new_models_name_is_printed(tuningfork, adapter, service):
    ended = tuningfork("import", adapter, "--base", "models/tuningfork-mini-001", "--id", "mine")

    assert (ended.code, ended.output, ended.errors) == (0, "tunedModels/mine\n", "")
    [(query, files)] = service.imported
    assert query == {
        "baseModel": "models/tuningfork-mini-001",
        "displayName": "number-words",
        "tunedModelId": "mine",
    }
    assert files == peft_adapters.files()


def test_a_display_name_can_be_chosen_and_json_printed(tuningfork, adapter, service):
    ended = tuningfork("import", adapter, "--base", "m", "--display-name", "Numbers", "--json")

    assert json.loads(ended.output)["displayName"] == "Numbers"


def test_a_base_has_to_be_named(tuningfork, adapter):
    ended = tuningfork("import", adapter)

    assert ended.code == 2
    assert "--base" in ended.errors


def test_nothing_is_sent_of_what_cannot_be_served(tuningfork, tmp_path, service):
    peft_adapters.written(tmp_path / "dora", peft_adapters.files(use_dora=True))

    ended = tuningfork("import", tmp_path / "dora", "--base", "m")

    assert (ended.code, service.imported) == (1, [])
    assert ended.errors.startswith(
        f"Error: {tmp_path / 'dora'} cannot be imported: adapter_config.json has use_dora=true"
    )


def test_runs_tell_an_imported_model_from_a_tuned_one(tuningfork, adapter, become_terminal):
    tuningfork("import", adapter, "--base", "m", "--id", "mine")

    assert tuningfork("jobs").output == "tunedModels/mine\tdone\t0\t0\n"
    watched = tuningfork("watch", "mine")
    assert (watched.code, watched.output) == (0, "tunedModels/mine\n")
    assert watched.errors.splitlines() == [
        "tunedModels/mine: imported, not tuned here",
        "no steps to take: the adapter was imported",
    ]
    become_terminal()
    assert "imported" in tuningfork("jobs").output
