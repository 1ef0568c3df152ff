"""`tuningfork tune` with a validation set, and `tuningfork checkpoints`."""

import json
import re

import pytest

CSV = "text_input,output\n1,2\n3,4\n7,8\n"


@pytest.fixture
def pairs(tmp_path):
    path = tmp_path / "pairs.csv"
    path.write_text(CSV)
    return path


def sent(service):
    return service.bodies[0]["tuningTask"].get("validation")


def test_a_share_is_held_out_by_the_service_and_the_counts_are_told(tuningfork, service, pairs):
    ended = tuningfork("tune", pairs, "--validation", "20%")
    assert (ended.code, ended.output) == (0, "tunedModels/m-1\n")
    assert sent(service) == {"heldOutPercent": 20}
    assert "tunedModels/m-1: 4 steps, 3 examples to learn from and 2 to validate with" in ended.errors


def test_a_file_of_examples_is_sent_as_the_validation_set(tuningfork, service, pairs, tmp_path):
    other = tmp_path / "held.csv"
    other.write_text("text_input,output\n11,12\n")
    ended = tuningfork("tune", pairs, "--validation", other, "--evaluate-every", "2", "--keep-best")
    assert ended.code == 0
    assert sent(service) == {
        "examples": {"examples": [{"textInput": "11", "output": "12"}]},
        "evaluateEvery": 2,
        "keepBest": True,
    }
    assert f"To validate with: {other}: 1 examples" in ended.errors


def test_early_stopping_without_a_validation_set_holds_out_a_tenth(tuningfork, service, pairs):
    tuningfork("tune", pairs, "--early-stopping", "--patience", "5")
    assert sent(service) == {"heldOutPercent": 10, "earlyStopping": {"patience": 5, "leastImprovement": 0}}


def test_without_any_of_it_the_gemini_apis_method_is_called(tuningfork, service, pairs):
    tuningfork("tune", pairs)
    assert sent(service) is None


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--validation", "60%"), "A share must be from 0.1% to 50%; 60% was given."),
        (("--patience", "3"), "with --early-stopping only"),
        (("--early-stopping", "--patience", "0"), "from 1 to 1000; 0 was given"),
        (("--validation", "missing.csv"), "missing.csv"),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_sent(tuningfork, service, pairs, options, said):
    ended = tuningfork("tune", pairs, *options)
    assert ended.code in (1, 2)
    assert said in " ".join(ended.errors.replace("│", " ").split())
    assert service.bodies == []


def test_the_validation_loss_is_in_the_progress_and_in_a_table_at_the_end(tuningfork, pairs):
    errors = tuningfork("tune", pairs, "--keep-best").errors
    assert "step 4/4 · epoch 5 · mean loss 0.500 · validation 0.875" in errors
    rows = [line.split() for line in errors.splitlines() if line.endswith(("right tokens", "%", "best"))]
    assert rows == [
        ["step", "epoch", "loss", "validation", "loss", "right", "tokens"],
        ["1", "0", "2.000", "1.000", "50.0%"],
        ["2", "0", "1.000", "0.500", "50.0%", "best"],
        ["3", "0", "0.667", "0.750", "50.0%"],
        ["4", "0", "0.500", "0.875", "50.0%"],
    ]
    assert "The model answers with checkpoint 1, of step 2." in errors


def test_the_json_of_a_run_has_what_its_validation_set_has_shown(tuningfork, pairs):
    shown = json.loads(tuningfork("tune", pairs, "--keep-best", "--json").output)
    assert shown["done"] is True
    assert [each["meanLoss"] for each in shown["validation"]["evaluations"]] == [1.0, 0.5, 0.75, 0.875]
    assert shown["validation"]["best"]["step"] == 2
    assert "validation" not in json.loads(tuningfork("tune", pairs, "--json").output)


def test_a_run_that_is_watched_shows_them_too(tuningfork, pairs):
    tuningfork("tune", pairs, "--keep-best", "--detach")
    assert "validation 0.875" in tuningfork("watch", "m-1").errors


def test_a_fault_in_the_validation_file_is_shown_where_it_is(tuningfork, service, pairs, tmp_path, monkeypatch):
    other = tmp_path / "held.csv"
    other.write_text("text_input,output\n11,12\n\n13,14\n")
    violation = {
        "field": "tuned_model.tuning_task.validation.examples.examples[1].output",
        "description": "output is too long.",
    }
    service.refuse_with = [violation]
    ended = tuningfork("tune", pairs, "--validation", other)
    assert ended.code == 1
    assert f"{other}, line 4, column 'output': output is too long." in ended.errors


class TestCheckpoints:
    @pytest.fixture(autouse=True)
    def model(self, tuningfork, pairs):
        tuningfork("tune", pairs, "--keep-best")

    def test_they_are_a_line_each(self, tuningfork):
        ended = tuningfork("checkpoints", "m-1")
        assert ended.output == "1\t2\t0\t0.2500\t0.5000\t0.500\tdefault\n2\t4\t0\t0.2500\t0.8750\t0.500\n"

    def test_on_a_terminal_they_are_a_table(self, tuningfork, become_terminal):
        become_terminal()
        output = re.sub(r"\x1b\[[0-9;]*m", "", tuningfork("checkpoints", "m-1").output)
        lines = [line.split() for line in output.splitlines()]
        assert lines[0] == ["Checkpoints", "of", "tunedModels/m-1"]
        assert lines[1] == ["checkpoint", "step", "epoch", "loss", "validation", "loss", "right", "tokens"]
        assert lines[3] == ["1", "2", "0", "0.2500", "0.5000", "0.500", "answers"]

    def test_one_is_made_the_default(self, tuningfork, service):
        shown = json.loads(tuningfork("checkpoints", "m-1", "--use", "2", "--json").output)
        assert [each["default"] for each in shown["checkpoints"]] == [False, True]
        assert shown["checkpoints"][1]["validationLoss"] == 0.875
        assert service.tuned["tunedModels/m-1"]["default"] == 2

    def test_a_number_that_there_is_not_is_refused_in_a_sentence(self, tuningfork):
        ended = tuningfork("checkpoints", "m-1", "--use", "7")
        assert (ended.code, ended.output) == (1, "")
        assert "one of 1, 2; 7 was given" in ended.errors
