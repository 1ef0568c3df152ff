"""`--json`: every command that prints a result prints it as JSON too, and nothing else on standard output."""

import json

import pytest

import command_line_docs
import peft_adapters

WITHOUT_RESULT = {
    "tuningfork tutorial": "a story for a person",
    "tuningfork serve": "runs until it is stopped; what it prints at its start is for a person",
    "tuningfork studio": "runs until it is stopped",
    "tuningfork completion": "prints a script",
    "tuningfork delete": "prints nothing",
    "tuningfork keys revoke": "prints nothing",
    "tuningfork groups add": "prints nothing",
    "tuningfork groups remove": "prints nothing",
    "tuningfork auth login": "prints nothing",
    "tuningfork auth logout": "prints nothing",
    "tuningfork auth application-default login": "prints nothing",
    "tuningfork auth application-default revoke": "prints nothing",
    "tuningfork auth service-account create": "prints nothing",
    "tuningfork auth service-account revoke": "prints nothing",
}
"""The commands that have no `--json`, each with the reason."""

COMMANDS = [path for path, _ in command_line_docs.commands()]
WITH_RESULT = [path for path in COMMANDS if path not in WITHOUT_RESULT]

TUNED_MODEL = {"name": "tunedModels/mine", "displayName": "七 é ✓", "baseModel": "models/tuningfork-mini-001"}
OPERATION = {"name": "tunedModels/mine/operations/op1", "metadata": {"totalSteps": 2, "tunedModel": "tunedModels/mine"}}
TOKEN = {"tokenType": "Bearer", "accessToken": "token-1"}
WHOLE_BACKUP = {"models": 0, "lacking": []}


@pytest.fixture
def printed(tuningfork, service, tmp_path):
    """What a command prints as JSON, in a place where there is one of everything."""
    data = ("--data-dir", tmp_path / "data")
    pairs = tmp_path / "pairs.csv"
    pairs.write_text("text_input,output\n1,2\n3,4\n")
    begun = {
        "baseModel": "models/tuningfork-mini-001",
        "displayName": "七 é ✓",
        "tuningTask": {
            "hyperparameters": {"epochCount": 4},
            "trainingData": {"examples": {"examples": [{"textInput": "1", "output": "2"}] * 2}},
        },
    }
    service.create(begun, "mine")
    assert tuningfork("keys", "create", *data).code == 0
    assert tuningfork("groups", "add", "team@example.com", "ada@example.com", *data).code == 0
    assert tuningfork("backup", "--to", tmp_path / "backup", *data).code == 0
    arguments = {
        "backup": ("--to", tmp_path / "another", *data),
        "restore": (tmp_path / "backup", "--data-dir", tmp_path / "restored"),
        "check": data,
        "pull": data,
        "set-aside": data,
        "tune": (pairs,),
        "watch": ("mine",),
        "cancel": ("mine",),
        "generate": ("tunedModels/mine", "1"),
        "update": ("mine", "--display-name", "七 é ✓"),
        "import": (peft_adapters.written(tmp_path / "adapter-here"), "--base", "m", "--id", "imported"),
        "export": ("mine", "--to", tmp_path / "adapter"),
        "checkpoints": ("mine",),
        "evaluate": (pairs, "--model", "mine"),
        "sweep": (pairs, "--learning-rates", "0.001,0.01", "--validation", "50%"),
        "keys create": ("--name", "laptop", *data),
        "keys list": data,
        "groups list": data,
    }

    def run(path, *further):
        name = path.removeprefix("tuningfork ")
        ended = tuningfork(*name.split(), "--json", *arguments.get(name, ()), *further)
        assert ended.code == 0, ended.errors
        assert ended.output.isascii()
        return ended.output

    return run


def has(actual, expected):
    """Whether everything that is expected is there; more may be."""
    if isinstance(expected, dict):
        return all(name in actual and has(actual[name], value) for name, value in expected.items())
    if isinstance(expected, list):
        return len(actual) == len(expected) and all(map(has, actual, expected))
    return actual == expected


def test_a_command_without_json_has_a_reason():
    options = {
        path: [name for parameter in command.params for name in parameter.opts]
        for path, command in command_line_docs.commands()
    }

    assert [path for path in COMMANDS if "--json" not in options[path]] == [
        path for path in COMMANDS if path in WITHOUT_RESULT
    ]
    assert set(WITHOUT_RESULT) <= set(COMMANDS)


EXPECTED = {
    "models": {"models": [{"inputTokenLimit": 16384}, {"outputTokenLimit": 8192}], "tunedModels": [TUNED_MODEL]},
    "jobs": {"operations": [OPERATION], "findings": {}},
    "tune": {"name": "tunedModels/m-2/operations/op1", "done": True, "response": {"name": "tunedModels/m-2"}},
    "watch": OPERATION | {"done": True},
    "cancel": OPERATION,
    "checkpoints": {"checkpoints": [{"number": 1, "default": True}]},
    "evaluate": {"name": "evaluations/e1", "state": "SUCCEEDED", "scores": [{"mean": 0.5}]},
    "sweep": {"trials": [{"kept": True}, {"kept": False}]},
    "generate": {"candidates": [{"content": {"role": "model", "parts": [{"text": "2"}]}}]},
    "update": TUNED_MODEL,
    "import": {"name": "tunedModels/imported", "displayName": "adapter-here"},
    "export": {},
    "keys create": {"name": "laptop", "email": "me@localhost", "project": "local"},
    "keys list": {"keys": [{"name": "", "email": "me@localhost", "project": "local", "sessions": 0}]},
    "groups list": {"groups": [{"group": "team@example.com", "memberCount": 1}]},
    "backup": WHOLE_BACKUP,
    "restore": WHOLE_BACKUP | {"filesOnly": False},
    "check": {"lacking": []},
    "pull": {"offers": [{"name": "smollm2"}, {"name": "gemma3-270m"}], "here": []},
    "set-aside": {"jobs": 0, "folder": None},
    "auth status": {"key": "the-key...", "remembered": False},
    "auth print-access-token": TOKEN,
    "auth application-default print-access-token": TOKEN,
    "auth application-default list": {"refreshTokens": []},
    "auth service-account list": {"serviceAccounts": []},
}


@pytest.mark.parametrize("path", WITH_RESULT)
def test_a_result_is_printed_as_json(printed, path):
    answer = json.loads(printed(path))

    assert has(answer, EXPECTED[path.removeprefix("tuningfork ")]), answer


def test_a_stream_is_one_answer_of_the_api_in_each_line(tuningfork, printed, service):
    service.tuned["tunedModels/mine"]["examples"]["1"] = "七é\n"

    lines = printed("tuningfork generate", "--stream").splitlines()

    assert [json.loads(line)["candidates"][0]["content"]["parts"][0]["text"] for line in lines] == ["七", "é", "\n"]


def test_a_dry_run_prints_the_preview(printed, service):
    seen = json.loads(printed("tuningfork tune", "--dry-run"))

    assert (seen["exampleCount"], seen["totalSteps"]) == (2, 3)
    assert list(service.tuned) == ["tunedModels/mine"]


def test_a_detached_run_is_printed_as_it_has_begun(printed):
    run = json.loads(printed("tuningfork tune", "--detach"))

    assert run["metadata"] == {"totalSteps": 3, "tunedModel": "tunedModels/m-2"}
    assert "done" not in run


def test_one_group_is_printed_with_its_members(printed):
    assert json.loads(printed("tuningfork groups list", "team@example.com")) == {
        "group": "team@example.com",
        "members": ["ada@example.com"],
    }


def test_a_whole_backup_that_was_checked_is_printed(printed, tuningfork, tmp_path):
    del printed
    ended = tuningfork("backup", "--check", tmp_path / "backup", "--json")

    assert json.loads(ended.output)["path"] == str(tmp_path / "backup")
    assert "is whole" in ended.errors


def test_a_run_that_failed_is_printed_and_is_an_error(tuningfork, service, tmp_path):
    service.fail_with = "the loss is not finite"
    pairs = tmp_path / "pairs.csv"
    pairs.write_text("text_input,output\n1,2\n")

    ended = tuningfork("tune", pairs, "--json")

    assert ended.code == 1
    assert json.loads(ended.output)["error"]["message"] == "the loss is not finite"
    assert "the loss is not finite" in ended.errors


def test_an_error_leaves_standard_output_empty(tuningfork, service):
    ended = tuningfork("watch", "nobody", "--json")

    assert (ended.code, ended.output) == (1, "")
    assert "does not exist" in ended.errors
