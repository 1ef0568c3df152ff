"""What `bench/use_cases.py` makes of scores, and the page that `bench/use_cases_page.py` makes of its results."""

import argparse
import io
import json
import sys
import tarfile
from contextlib import ExitStack

import httpx
import pytest

import peers
import use_cases
import use_cases_page
import use_cases_runs
from use_cases_page import Goal
from use_cases_runs import BASE, TRL, TUNED

X = "models/x"


def run(who, score, *, case="bank_messages", metric="accuracy", seed=0, **more):
    """A line of `runs.jsonl`."""
    is_base = who == BASE
    return {
        **use_cases_runs.key(X, case, who, None if is_base else seed),
        "scores": {metric: score},
        "adapter": None if is_base else dict(use_cases_runs.USUAL_ADAPTER),
        "seconds": None if is_base else 120.0,
        "processor_seconds": None if is_base else 90.0,
        "command": "python bench/use_cases.py --base x=y",
        "date": "2026-01-02",
        "commit": "abc",
        "cpu": "a processor",
        "versions": {},
        **more,
    }


BANK = [run(BASE, 0.25), run(TUNED, 0.98, seed=1), run(TUNED, 0.96)]
OF_BOOKINGS = {"case": "table_bookings", "metric": "valid JSON"}
BOOKINGS = [run(BASE, 0.1, **OF_BOOKINGS), run(TUNED, 0.98, **OF_BOOKINGS), run(TRL, 1.0, **OF_BOOKINGS)]


def scores(*lines, name="bank_messages"):
    return use_cases_runs.measured(lines, X, name).scores


@pytest.mark.parametrize(
    ("values", "text"), [([0.25], "0.250"), ([0.75, 0.85], "0.800 ± 0.071"), ([1, 1], "1.000 ± 0.000")]
)
def test_a_spread_is_the_mean_and_the_standard_deviation_of_several(values, text):
    assert use_cases_page.spread(values) == text


def test_a_table_has_a_line_for_each_metric_and_a_column_for_everybody():
    assert use_cases_page.table(scores(*BANK)) == [["", BASE, TUNED], ["accuracy", "0.250", "0.970 ± 0.014"]]


@pytest.mark.parametrize(
    ("goal", "tuned", "base", "reached", "words"),
    [
        (Goal(metric="accuracy", at_least=0.97), 0.97, 0.5, True, "at least 0.97"),
        (Goal(metric="accuracy", at_least=0.97), 0.96, 0.5, False, "at least 0.97"),
        (Goal(metric="names", at_most=0.05), 0.05, 0.5, True, "at most 0.05"),
        (Goal(metric="names", at_most=0.05), 0.06, 0.5, False, "at most 0.05"),
        (Goal(metric="ROUGE-L", times_base=3.0), 0.45, 0.15, True, "3 times the base's"),
        (Goal(metric="ROUGE-L", times_base=3.0), 0.44, 0.15, False, "3 times the base's"),
        (Goal(metric="ROUGE-L", times_base=3.0), 0.44, None, None, "3 times the base's"),
    ],
)
def test_a_goal_is_reached_at_its_bound(goal, tuned, base, reached, words):
    assert goal.is_reached(tuned, base) is reached
    assert goal.wanted() == words


def test_a_point_less_than_trl_is_as_good_and_more_is_not():
    accuracy, names = Goal(metric="accuracy", at_least=0.9), Goal(metric="names", at_most=0.1)

    assert accuracy.is_as_good(0.96, 0.97)
    assert not accuracy.is_as_good(0.95, 0.97)
    assert accuracy.is_as_good(0.99, 0.97)
    assert names.is_as_good(0.04, 0.03)
    assert not names.is_as_good(0.05, 0.03)


def test_goals_are_listed_with_what_was_reached_and_beside_trl_where_it_took_part():
    of_bookings = scores(*BOOKINGS, name="table_bookings")

    assert use_cases_page.goals({"bank_messages": scores(*BANK), "table_bookings": of_bookings})[1:] == [
        ["Bank messages", "accuracy", "at least 0.97", "0.250", "0.970", "yes", "-", "-"],
        ["Table bookings", "valid JSON", "at least 0.99", "0.100", "0.980", "**no**", "1.000", "**no**"],
    ]


def test_the_page_is_made_of_the_runs():
    page = use_cases_page.page(BANK, remarks={"bank_messages": "Two labels are alike."}, base=X)

    assert "| accuracy | 0.250 | 0.970 ± 0.014 |" in page
    assert "500 examples for training, 200 held out. epochCount 2, batchSize 4, learningRate 0.001; rank 8" in page
    assert "Seeds: tuned 2. One tuning took of processor time: tuned 1.5 minutes." in page
    assert "a processor; 2026-01-02; commit abc." in page
    assert page.endswith("\nTwo labels are alike.\n")


def test_minutes_are_those_of_the_clock_where_somebodys_processor_time_is_not_known():
    page = use_cases_page.page([*BANK, run(TRL, 0.9, seconds=600.0, processor_seconds=None)], base=X)

    assert "One tuning took by the clock: tuned 2.0 minutes; TRL and PEFT 10.0 minutes." in page


@pytest.mark.parametrize(
    "more",
    [{"data": "other examples"}, {"asked": "other questions"}, {"settings": {"epochCount": 9}}, {"base": "models/y"}],
)
def test_runs_of_another_state_of_a_case_are_not_shown(more):
    assert scores(*BANK, run(TUNED, 0.0, seed=2, **more)) == scores(*BANK)


def test_trl_is_beside_us_with_an_adapter_of_our_shape_only():
    assert TRL in scores(*BANK, run(TRL, 0.9))
    assert TRL not in scores(*BANK, run(TRL, 0.9, adapter={"rank": 64, "alpha": 16.0}))


def test_new_examples_for_training_leave_what_the_base_answered(monkeypatch):
    case = use_cases_runs.importlib.import_module("bank_messages")
    monkeypatch.setattr(case, "TRAINING", case.TRAINING[1:])

    assert set(scores(*BANK)) == {BASE}


def test_what_is_recorded_can_be_read_and_is_known(tmp_path):
    path = tmp_path / "answers" / "runs.jsonl"
    for each in BANK:
        use_cases_runs.append(each, path)

    known = use_cases_runs.recorded(path)

    assert known == BANK
    assert use_cases_runs.is_known(use_cases_runs.key(X, "bank_messages", TUNED, 1), known)
    assert not use_cases_runs.is_known(use_cases_runs.key(X, "bank_messages", TUNED, 2), known)
    assert not use_cases_runs.is_known(use_cases_runs.key(X, "bank_messages", TRL, 1), known)


def test_all_cases_are_measured_with_one_seed_before_any_is_with_the_next():
    cases = ("bank_messages", "garden_chat")
    found = [
        (each.case, each.who, each.seed) for each in use_cases.work(cases, sides=(TUNED, TRL), seeds=2, peer_seeds=1)
    ]

    assert found == [
        ("bank_messages", BASE, None),
        ("bank_messages", TUNED, 0),
        ("bank_messages", TRL, 0),
        ("garden_chat", BASE, None),
        ("garden_chat", TUNED, 0),
        ("garden_chat", TRL, 0),
        ("bank_messages", TUNED, 1),
        ("garden_chat", TUNED, 1),
    ]


def test_one_side_can_be_measured_alone():
    found = list(use_cases.work(("bank_messages",), sides=(TRL,), seeds=3, peer_seeds=2))

    assert [(each.who, each.seed) for each in found] == [(TRL, 0), (TRL, 1)]


def test_an_interrupted_measurement_goes_on_with_what_is_missing(monkeypatch, tmp_path, capsys):
    path = tmp_path / "runs.jsonl"
    command = ["use_cases.py", "--base", "x=y", "--only", "bank_messages", "--seeds", "2", "--record", str(path)]
    monkeypatch.setattr(sys, "argv", [*command, "--who", "ours"])
    for each in (BANK[0], BANK[2]):
        use_cases_runs.append(each, path)
    asked = []

    class Answers:
        def run(self, case, seed, limit):
            asked.append((case.__name__, seed, limit))
            found = dict.fromkeys(("adapter", "seconds", "processor_seconds"))
            return {"scores": {"accuracy": 0.5}, **found}

    # Why: a server over a real base takes minutes.
    monkeypatch.setattr(use_cases.Sides, "of", lambda *_: Answers())
    use_cases.main()
    use_cases.main()

    assert asked == [("bank_messages", 1, 0)]
    assert len(use_cases_runs.recorded(path)) == 3
    assert "0.730" in capsys.readouterr().out


def test_the_page_in_the_docs_is_made_of_what_is_in_the_tree():
    page = use_cases_page.page(use_cases_runs.recorded(), use_cases_page.recorded(), use_cases_page.remarks())
    assert use_cases_page.PAGE.read_text(encoding="utf-8") == page, "run: python bench/use_cases_page.py"


def line(**more):
    """A line of the sweep: the bank's messages with its program's settings."""
    settings = use_cases_runs.settings_of("bank_messages")
    return {
        "base": "x",
        "case": "bank_messages",
        "data": use_cases_runs.data_of("bank_messages"),
        "learning_rate": settings["learningRate"],
        "alpha": use_cases_runs.USUAL_ADAPTER["alpha"],
        "rank": use_cases_runs.USUAL_ADAPTER["rank"],
        "batch_size": settings["batchSize"],
        "seed": 0,
        "epoch": settings["epochCount"],
        "scores": {"accuracy": 0.9},
        "loss": 0.125,
        "training_seconds": 90.0,
        **more,
    }


BASE_LINE = line(scores={"accuracy": 0.5}, **dict.fromkeys(("learning_rate", "alpha", "rank", "batch_size")), epoch=0)


def test_a_case_without_a_result_is_judged_by_its_programs_settings_in_the_sweep():
    sweep = [BASE_LINE, line(), line(seed=1, scores={"accuracy": 1.0}), line(alpha=99.0, scores={"accuracy": 0.1})]

    page = use_cases_page.page([], sweep, base=X)

    assert "| Bank messages | accuracy | at least 0.97 | 0.500 | 0.950 | **no** | - | - |" in page
    assert "| 2 | 0.125 | 1.5 | 0.950 ± 0.071 |" in page
    assert f"| {BASE} | - | - | - | - | - | - | - | 0.500 |" in page
    assert "99" in page


def test_a_case_that_only_the_base_has_answered_is_judged_by_the_sweep_beside_it():
    page = use_cases_page.page([run(BASE, 0.25)], [line()], base=X)

    assert "| Bank messages | accuracy | at least 0.97 | 0.250 | 0.900 | **no** | - | - |" in page


def test_a_case_with_a_result_is_judged_by_it():
    page = use_cases_page.page(BANK, [BASE_LINE, line()], base=X)

    assert "| Bank messages | accuracy | at least 0.97 | 0.250 | 0.970 | yes | - | - |" in page


def test_what_was_tried_on_the_tutorial_is_on_the_page_too():
    tried = line(case="tutorial", data=use_cases_runs.data_of("tutorial"), alpha=64, scores={"right": 0.4})

    page = use_cases_page.page([], [tried], base=X)

    assert "## Tutorial" in page
    assert "| 64 | 8 |" in page


def test_a_remark_is_shown_of_a_case_without_figures_too():
    page = use_cases_page.page([], [], {"garden_chat": "Not measured."}, base=X)

    assert page.endswith("\n## Garden chat\n\nNot measured.\n")


def test_what_was_tried_over_another_base_is_not_on_the_page():
    page = use_cases_page.page([], [{**BASE_LINE, "base": "y"}, line(base="y")], base=X)

    assert "accuracy" not in page


def test_what_was_tried_with_other_examples_is_not_on_the_page():
    page = use_cases_page.page([], [{**BASE_LINE, "data": "0"}, line(data="0")], base=X)

    assert "accuracy" not in page


def test_an_edit_of_the_examples_is_seen_in_their_digest(monkeypatch):
    case = use_cases_runs.importlib.import_module("bank_messages")
    before = use_cases_runs.data_of("bank_messages")

    monkeypatch.setattr(case, "TRAINING", [*case.TRAINING[1:], case.TRAINING[0] | {"text_input": "Another."}])

    assert use_cases_runs.data_of("bank_messages") != before
    assert "accuracy" not in use_cases_page.page([], [line(data=before)], base=X)


def test_rank_and_alpha_are_those_of_the_exported_adapter():
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as files:
        content = json.dumps({"r": 4, "lora_alpha": 12.0}).encode()
        member = tarfile.TarInfo("adapter_config.json")
        member.size = len(content)
        files.addfile(member, io.BytesIO(content))

    def answer(request):
        assert request.url.path == "/tuningfork/v1/tunedModels/x/adapter"
        return httpx.Response(200, content=archive.getvalue())

    with httpx.Client(base_url="http://server", transport=httpx.MockTransport(answer)) as client:
        assert use_cases.adapter_of(client, "tunedModels/x") == {"rank": 4, "alpha": 12.0}


def test_without_its_environment_trl_stays_away_and_the_reason_is_said(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(peers, "KEPT", tmp_path)

    arguments = argparse.Namespace(base=None, device="cpu")

    with ExitStack() as stack:
        assert use_cases.Sides(arguments, stack).of(TRL) is None
    assert "TRL and PEFT does not take part: not installed" in capsys.readouterr().out


def test_every_case_has_what_the_comparison_asks_of_it():
    for name in use_cases.CASES:
        case = use_cases.importlib.import_module(name)

        assert len(case.PROMPTS) == len(case.BASE_PROMPTS) == len(case.HELD_OUT)
        assert set(case.SETTINGS) == {"epochCount", "batchSize", "learningRate"}
        assert case.MAX_TOKENS > 0
        assert case.PROMPTS != case.BASE_PROMPTS


def test_every_goal_is_about_a_metric_that_its_case_has():
    for name, goals in use_cases_page.GOALS.items():
        case = use_cases.importlib.import_module(name)
        scores = case.score([""] * len(case.PROMPTS))

        assert {goal.metric for goal in goals} <= set(scores)
