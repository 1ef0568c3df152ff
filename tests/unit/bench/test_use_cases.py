"""What `bench/use_cases.py` makes of scores."""

import json

import pytest

import peers
import use_cases

CASE = {
    "case": "bank_messages",
    "title": "Classification.",
    "settings": {"epochCount": 5, "batchSize": 8},
    "training": 160,
    "held_out": 100,
    "scores": {
        use_cases.BASE: [{"accuracy": 0.25}],
        use_cases.TUNED: [{"accuracy": 0.75}, {"accuracy": 0.85}],
    },
}
RESULT = {
    "base": "models/x",
    "seeds": 2,
    "cases": [CASE],
    "note": "TRL and PEFT did not take part: not installed.",
    "command": "python bench/use_cases.py --base x=y",
    "date": "2026-01-02",
    "commit": "abc",
    "machine": {"cpu": "a processor"},
}


@pytest.mark.parametrize(
    ("values", "text"), [([0.25], "0.250"), ([0.75, 0.85], "0.800 ± 0.071"), ([1, 1], "1.000 ± 0.000")]
)
def test_a_spread_is_the_mean_and_the_standard_deviation_of_several(values, text):
    assert use_cases.spread(values) == text


def test_a_table_has_a_line_for_each_metric_and_a_column_for_everybody():
    assert use_cases.table(CASE["scores"]) == [
        ["", use_cases.BASE, use_cases.TUNED],
        ["accuracy", "0.250", "0.800 ± 0.071"],
    ]


def test_the_page_is_made_of_the_result(tmp_path):
    use_cases.write(RESULT, results=tmp_path / "results", to=tmp_path / "page.md")
    page = (tmp_path / "page.md").read_text(encoding="utf-8")

    assert json.loads((tmp_path / "results" / "use_cases.json").read_text(encoding="utf-8")) == RESULT
    assert "| accuracy | 0.250 | 0.800 ± 0.071 |" in page
    assert "160 examples for training, 100 held out; epochCount 5, batchSize 8." in page
    assert page.count("\n## ") == 1
    assert page.endswith("TRL and PEFT did not take part: not installed.\n")


def test_without_its_environment_trl_stays_away_and_the_reason_is_kept(monkeypatch, tmp_path):
    monkeypatch.setattr(peers, "KEPT", tmp_path)

    peer, why = use_cases.invited(None, "somewhere", "cpu")

    assert peer is None
    assert "not installed" in why


def test_every_case_has_what_the_comparison_asks_of_it():
    for name in use_cases.CASES:
        case = use_cases.importlib.import_module(name)

        assert len(case.PROMPTS) == len(case.BASE_PROMPTS) == len(case.HELD_OUT)
        assert set(case.SETTINGS) == {"epochCount", "batchSize", "learningRate"}
        assert case.MAX_TOKENS > 0
        assert case.PROMPTS != case.BASE_PROMPTS
