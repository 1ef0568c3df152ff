import json
import sys

import pytest

import processors
import report


def test_a_ratio_of_times_says_how_many_times_shorter_ours_is():
    row = report.Row(work="w", unit="ms", samples={"ours": [9.0, 10.0, 50.0], "them": [40.0, 60.0]}).as_json()

    assert (row["ours"], row["peers"]) == (10.0, {"them": 50.0})
    assert row["ratios"] == {"them": 5.0}


def test_a_ratio_of_speeds_says_how_many_times_faster_ours_is():
    row = report.Row(work="w", unit="tokens/s", more_is_better=True, samples={"ours": [300.0], "them": [100.0]})

    assert row.as_json()["ratios"] == {"them": 3.0}


def test_every_sample_is_kept():
    row = report.Row(work="w", unit="ms", samples={"ours": [3.0, 1.0], "them": [2.0]}).as_json()

    assert row["all"] == {"ours": [3.0, 1.0], "them": [2.0]}


def test_a_result_names_the_command_that_repeats_it_and_the_machine(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", [str(report.HERE / "decode.py"), "--rounds", "3"])
    for name in processors.EMULATING:
        monkeypatch.delenv(name, raising=False)
    row = report.Row(work="w", unit="ms", samples={"ours": [1.0]})

    path = report.write_result("decode", [row], title="Decoding", threads=1, directory=tmp_path)

    result = json.loads(path.read_text(encoding="utf-8"))
    assert path == tmp_path / result["kind"] / "decode.json"
    assert result["kind"] == processors.kind_of(result["machine"])
    assert report.read_results(tmp_path) == [result]
    assert result["command"] == "python bench/decode.py --rounds 3"
    assert result["machine"].keys() >= {"cpu", "cores", "flags", "memory_gib", "python"}
    assert result["versions"]["ours"].keys() >= {"torch", "transformers"}


@pytest.mark.parametrize(("value", "shown"), [(0.0, "0"), (0.01234, "0.0123"), (2.5, "2.5"), (1234.5, "1,234")])
def test_figures_have_the_digits_that_count(value, shown):
    assert report.figure(value) == shown


def test_what_is_printed_names_every_peer_its_ratio_and_what_was_wanted(capsys):
    row = report.Row(
        work="a step",
        unit="ms",
        samples={"ours": [10.0], "TRL": [40.0]},
        wanted="at least 6 x",
        wanted_ratios={"TRL": 6},
    )

    report.show("Steps", [row.as_json()])

    (line,) = [line for line in capsys.readouterr().out.splitlines() if "TRL" in line]
    assert "4.00 x" in line
    assert "wanted 6 x" in line


def test_time_by_another_clock_is_compared_by_medians():
    facts = report.other_time("by the clock", {"ours": [2.0, 2.0, 9.0], "TRL": [8.0], "PEFT": [5.0, 3.0]})

    assert facts == {"by the clock": "TRL 4.00 x, PEFT 2.00 x"}


def test_where_nobody_noted_another_time_nothing_is_said_of_it():
    assert report.other_time("by the clock", {}) == {}
    assert report.other_time("by the clock", {"ours": [1.0]}) == {}
