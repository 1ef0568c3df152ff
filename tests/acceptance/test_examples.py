"""The example programs' way to the server: tune on pairs and on conversations, ask, and be told what is wrong."""

import pytest

import bank_messages
import garden_chat
import service

BASE = "models/tuningfork-mini-001"
SETTINGS = {"epochCount": 1, "batchSize": 2, "learningRate": 0.001}


@pytest.fixture
def client(server, monkeypatch):
    monkeypatch.setenv("TUNINGFORK_URL", server.url)
    monkeypatch.setenv("TUNINGFORK_API_KEY", server.key)
    with service.connect() as connected:
        yield connected


@pytest.mark.acceptance
@pytest.mark.parametrize("case", [bank_messages, garden_chat], ids=["pairs", "conversations"])
def test_a_case_is_tuned_and_both_models_answer(client, case, capsys):
    tuned = service.tune(client, BASE, "an example", case.TRAINING[:2], SETTINGS)
    answers = service.ask(client, tuned, case.PROMPTS[:2], max_tokens=4)
    before = service.ask(client, BASE, case.BASE_PROMPTS[:2], max_tokens=4)

    assert tuned.startswith("tunedModels/")
    assert [len(answers), len(before)] == [2, 2]
    assert "step 1 of 1, mean loss" in capsys.readouterr().out


@pytest.mark.acceptance
def test_the_servers_refusal_ends_the_program(client):
    with pytest.raises(SystemExit, match="404"):
        service.ask(client, "models/nowhere", ["Hello"], max_tokens=4)


def test_a_table_has_a_line_for_each_metric(capsys):
    service.show({"base": {"accuracy": 0.25, "ROUGE-L": 0.5}, "tuned": {"accuracy": 1.0, "ROUGE-L": 0.75}})

    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines[1:]] == [
        ["base", "tuned"],
        ["accuracy", "0.250", "1.000"],
        ["ROUGE-L", "0.500", "0.750"],
    ]
