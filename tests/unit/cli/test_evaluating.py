"""`tuningfork evaluate`: several models answer the examples of a file."""

import pytest

from tuningfork.client import evaluations

CSV = "text_input,output\n1,2\n3,4\nx,x\n"
BASE = "models/tuningfork-mini-001"


@pytest.fixture
def held(tmp_path):
    path = tmp_path / "held.csv"
    path.write_text(CSV)
    return path


@pytest.fixture
def tuned(service):
    """The name of a model that knows two of the examples by heart; it repeats everything else, as the base does."""
    examples = {"examples": [{"textInput": "1", "output": "2"}, {"textInput": "3", "output": "4"}]}
    task = {"hyperparameters": {}, "trainingData": {"examples": examples}}
    service.create({"baseModel": BASE, "tuningTask": task}, "mine")
    return "tunedModels/mine"


def test_each_model_and_measure_is_a_line_for_programs(tuningfork, held, tuned):
    ended = tuningfork("evaluate", held, "--model", BASE, "--model", "mine")
    assert ended.code == 0
    assert [line.split("\t")[:2] for line in ended.output.splitlines()] == [
        [BASE, "EXACT_MATCH"],
        [tuned, "EXACT_MATCH"],
    ]
    means = [float(line.split("\t")[2]) for line in ended.output.splitlines()]
    assert means == [pytest.approx(1 / 3), 1]
    assert "evaluations/e1: 3 examples, 6 answers" in ended.errors
    assert "6 of 6 answers" in ended.errors
    assert f"Too few examples to tell {BASE} and {tuned} apart by exact match." in ended.errors


def test_a_person_sees_a_table_with_intervals(tuningfork, held, tuned, become_terminal):
    become_terminal()
    shown = tuningfork("evaluate", held, "--model", BASE, "--model", tuned).output
    assert "exact match" in shown
    assert "33 % (17-67)" in shown
    assert "100 % (50-100)" in shown


def test_the_data_are_staged_for_the_time_of_the_request_only(tuningfork, service, held, tuned):
    tuningfork(
        "evaluate", held, "--model", tuned, "--max-examples", "2", "--temperature", "0.5", "--measure", "ROUGE_L"
    )
    assert service.datasets == {"datasets/d1": CSV}
    assert service.deleted_datasets == ["datasets/d1"]
    [asked] = service.bodies
    assert asked == {
        "models": [tuned],
        "dataset": "datasets/d1",
        "maxExamples": 2,
        "temperature": 0.5,
        "measures": ["ROUGE_L"],
    }


def test_examples_that_a_model_was_trained_on_are_warned_of(tuningfork, service, held, tuned):
    service.leaked = 2
    said = tuningfork("evaluate", held, "--model", tuned).errors
    assert f"Warning: {tuned} was trained on 2 of the 3 examples" in said


def test_a_run_that_failed_is_an_error_after_its_scores(tuningfork, service, held, tuned):
    service.fail_with = "gone"
    ended = tuningfork("evaluate", held, "--model", tuned)
    assert ended.code == 1
    assert "EXACT_MATCH" in ended.output
    assert "evaluations/e1 failed: The model is gone." in ended.errors


def test_who_interrupts_it_stops_it_and_gets_the_scores_so_far(tuningfork, held, tuned, monkeypatch):
    def interrupt(_self, _name):
        raise KeyboardInterrupt

    # Why: a signal would come between two looks, and no test can tell when.
    monkeypatch.setattr(evaluations.EvaluationCalls, "get", interrupt)
    ended = tuningfork("evaluate", held, "--model", tuned)
    assert ended.code == 130
    assert "EXACT_MATCH" in ended.output
    assert "It was stopped after" in ended.errors


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"", "is empty"), (b"a,b\n1,2\n", "do not tell which is the question")],
)
def test_a_file_that_cannot_be_asked_is_refused(tuningfork, service, tmp_path, content, said):
    path = tmp_path / "bad.csv"
    path.write_bytes(content)
    ended = tuningfork("evaluate", path, "--model", BASE)
    assert ended.code == 1
    assert said in " ".join(ended.errors.split())
    assert service.bodies == []


def test_a_file_that_is_not_there_is_said(tuningfork, tmp_path):
    ended = tuningfork("evaluate", tmp_path / "none.csv", "--model", BASE)
    assert ended.code == 1
    assert "cannot be read" in ended.errors


@pytest.mark.parametrize("arguments", [(), ("FILE", "--kept-back-by", "mine")])
def test_either_a_file_or_a_model_gives_the_examples(tuningfork, held, arguments):
    given = [str(held) if each == "FILE" else each for each in arguments]
    ended = tuningfork("evaluate", *given, "--model", BASE)
    assert ended.code == 2
    assert "--kept-back-by" in ended.errors
