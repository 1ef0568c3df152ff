"""What `bench/use_cases_sweep.py` tries, and what it records of it."""

import argparse
import json
import sys

import pytest

import tutorial_case
import use_cases_sweep
from tuningfork.domain.conversation import Conversation, Speaker
from tuningfork.embedded import model_directory

TRIED = {
    "base": "x",
    "case": "tutorial",
    "data": "abc",
    "learning_rate": 0.001,
    "alpha": 16.0,
    "rank": 8,
    "batch_size": 4,
    "seed": 0,
}


def test_every_combination_of_what_was_asked_for_is_tried():
    asked = argparse.Namespace(rate=[0.001, 0.002], alpha=[16.0], rank=[8], batch=[4, 8], seeds=[0])

    found = [(each["learning_rate"], each["batch_size"]) for each in use_cases_sweep.settings(asked)]

    assert found == [(0.001, 4), (0.001, 8), (0.002, 4), (0.002, 8)]


def test_a_setting_is_known_when_each_of_its_epochs_has_a_line():
    lines = [{**TRIED, "epoch": 1}, {**TRIED, "epoch": 2}, {**TRIED, "epoch": 3, "alpha": 32.0}]

    assert use_cases_sweep.is_known(TRIED, [1, 2], lines)
    assert not use_cases_sweep.is_known(TRIED, [2, 3], lines)
    assert not use_cases_sweep.is_known({**TRIED, "data": "other"}, [1], lines)


def test_rows_are_pairs_or_conversations():
    pair = use_cases_sweep.example({"text_input": "one", "output": "two"})
    chat = use_cases_sweep.example(
        {"messages": [{"role": "user", "content": "one"}, {"role": "assistant", "content": "two"}]}
    )

    assert pair == chat == Conversation.pair("one", "two")
    assert [turn.speaker for turn in chat.turns] == [Speaker.USER, Speaker.MODEL]


def test_a_seed_shuffles_the_examples_and_is_the_jobs():
    rows = tutorial_case.TRAINING
    one, again, other = (use_cases_sweep.job_of({**TRIED, "seed": seed}, rows, 5) for seed in (1, 1, 2))

    assert one.examples == again.examples != other.examples
    assert set(one.examples) == set(other.examples)
    assert (one.seed, other.seed) == (1, 2)


def test_a_training_is_asked_after_the_epochs_named_and_a_known_one_is_not_repeated(monkeypatch, tmp_path, capsys):
    record, answers = tmp_path / "sweep.jsonl", tmp_path / "answers.jsonl"
    settings = ["--alpha", "80", "--epochs", "2", "5", "--record", str(record), "--answers", str(answers)]
    command = ["use_cases_sweep.py", "--base", str(model_directory()), "--case", "tutorial", *settings]
    monkeypatch.setattr(sys, "argv", command)

    use_cases_sweep.main()
    use_cases_sweep.main()

    lines = [json.loads(line) for line in record.read_text(encoding="utf-8").splitlines()]
    assert [(line["epoch"], line["steps"]) for line in lines] == [(2, 8), (5, 19)]
    assert lines[0]["loss"] > lines[1]["loss"]
    assert lines[1]["scores"]["right"] >= 0.8
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == lines
    said = [json.loads(line) for line in answers.read_text(encoding="utf-8").splitlines()]
    assert [each["prompt"] for each in said] == 2 * tutorial_case.PROMPTS
    assert tutorial_case.score([each["answer"] for each in said[15:]]) == lines[1]["scores"]


@pytest.mark.parametrize("name", use_cases_sweep.CASES)
def test_every_case_has_what_the_sweep_asks_of_it(name):
    case = use_cases_sweep.importlib.import_module(use_cases_sweep.CASES[name])

    assert len(use_cases_sweep.data_of(name)) == 12
    assert set(case.score([""] * len(case.PROMPTS))) != set()
