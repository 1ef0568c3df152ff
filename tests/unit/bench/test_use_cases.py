"""What `bench/use_cases.py` makes of scores, and the page that `bench/use_cases_page.py` makes of its results."""

import io
import json
import tarfile

import httpx
import pytest

import peers
import use_cases
import use_cases_page
from use_cases_page import BASE, TRL, TUNED, Goal

BANK = {
    "title": "Classification.",
    "settings": {"epochCount": 5, "batchSize": 8},
    "adapter": {"rank": 8, "alpha": 16.0},
    "training": 160,
    "held_out": 100,
    "scores": {BASE: [{"accuracy": 0.25}], TUNED: [{"accuracy": 0.96}, {"accuracy": 0.98}]},
    "minutes": {TUNED: [2.0, 3.0], TRL: []},
    "note": "TRL and PEFT did not take part: not installed.",
    "command": "python bench/use_cases.py --base x=y",
    "date": "2026-01-02",
    "commit": "abc",
    "machine": {"cpu": "a processor", "cores": 2, "load": 1.5},
}
BOOKINGS = {
    **BANK,
    "title": "Extraction.",
    "scores": {BASE: [{"valid JSON": 0.1}], TUNED: [{"valid JSON": 0.98}], TRL: [{"valid JSON": 1.0}]},
    "minutes": {TUNED: [2.0], TRL: [9.0]},
    "note": "",
}


@pytest.mark.parametrize(
    ("values", "text"), [([0.25], "0.250"), ([0.75, 0.85], "0.800 ± 0.071"), ([1, 1], "1.000 ± 0.000")]
)
def test_a_spread_is_the_mean_and_the_standard_deviation_of_several(values, text):
    assert use_cases_page.spread(values) == text


def test_a_table_has_a_line_for_each_metric_and_a_column_for_everybody():
    assert use_cases_page.table(BANK["scores"]) == [["", BASE, TUNED], ["accuracy", "0.250", "0.970 ± 0.014"]]


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
    assert use_cases_page.goals({"bank_messages": BANK["scores"], "table_bookings": BOOKINGS["scores"]})[1:] == [
        ["Bank messages", "accuracy", "at least 0.97", "0.250", "0.970", "yes", "-", "-"],
        ["Table bookings", "valid JSON", "at least 0.99", "0.100", "0.980", "**no**", "1.000", "**no**"],
    ]


def test_the_page_is_made_of_the_result(tmp_path):
    results, to = tmp_path / "results", tmp_path / "page.md"
    results.mkdir()
    (results / "remarks.toml").write_text('bank_messages = "Two labels are alike."', encoding="utf-8")

    use_cases_page.write("models/x", {"bank_messages": BANK}, results=results, to=to)

    page = to.read_text(encoding="utf-8")
    kept = json.loads((results / "use_cases.json").read_text(encoding="utf-8"))
    assert kept == {"base": "models/x", "cases": {"bank_messages": BANK}}
    assert "| accuracy | 0.250 | 0.970 ± 0.014 |" in page
    assert "160 examples for training, 100 held out. epochCount 5, batchSize 8; rank 8, alpha 16." in page
    assert "One tuning took: tuned 2.5 minutes." in page
    assert "TRL and PEFT did not take part: not installed." in page
    assert page.endswith("\nTwo labels are alike.\n")


def test_a_case_that_is_measured_again_leaves_the_others_as_they_were(tmp_path):
    results, to = tmp_path / "results", tmp_path / "page.md"
    again = {**BANK, "training": 300}

    for cases in ({"table_bookings": BOOKINGS}, {"bank_messages": BANK}, {"bank_messages": again}):
        use_cases_page.write("models/x", cases, results=results, to=to)

    kept = json.loads((results / "use_cases.json").read_text(encoding="utf-8"))["cases"]
    assert list(kept.items()) == [("bank_messages", again), ("table_bookings", BOOKINGS)]
    assert to.read_text(encoding="utf-8").count("\n## ") == 3


def test_cases_over_another_base_are_dropped(tmp_path):
    results, to = tmp_path / "results", tmp_path / "page.md"

    use_cases_page.write("models/x", {"bank_messages": BANK}, results=results, to=to)
    use_cases_page.write("models/y", {"table_bookings": BOOKINGS}, results=results, to=to)

    kept = json.loads((results / "use_cases.json").read_text(encoding="utf-8"))
    assert kept == {"base": "models/y", "cases": {"table_bookings": BOOKINGS}}


def test_the_page_in_the_docs_is_made_of_what_is_in_the_tree():
    result = json.loads((use_cases_page.RESULTS / "use_cases.json").read_text(encoding="utf-8"))

    page = use_cases_page.page(result, use_cases_page.recorded(), use_cases_page.remarks())
    assert use_cases_page.PAGE.read_text(encoding="utf-8") == page, "run: python bench/use_cases_page.py"


def line(**more):
    """A line of the sweep: the bank's messages with its program's settings."""
    settings = use_cases_page.settings_of("bank_messages")
    return {
        "base": "x",
        "case": "bank_messages",
        "data": use_cases_page.data_of("bank_messages"),
        "learning_rate": settings["learningRate"],
        "alpha": use_cases_page.USUAL_ADAPTER[1],
        "rank": use_cases_page.USUAL_ADAPTER[0],
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

    page = use_cases_page.page({"base": "models/x", "cases": {}}, sweep)

    assert "| Bank messages | accuracy | at least 0.97 | 0.500 | 0.950 | **no** | - | - |" in page
    assert "| 2 | 0.125 | 1.5 | 0.950 ± 0.071 |" in page
    assert f"| {BASE} | - | - | - | - | - | - | - | 0.500 |" in page
    assert "99" in page


def test_a_case_with_a_result_is_judged_by_it():
    page = use_cases_page.page({"base": "models/x", "cases": {"bank_messages": BANK}}, [BASE_LINE, line()])

    assert "| Bank messages | accuracy | at least 0.97 | 0.250 | 0.970 | yes | - | - |" in page


def test_what_was_tried_on_the_tutorial_is_on_the_page_too():
    tried = line(case="tutorial", data=use_cases_page.data_of("tutorial"), alpha=64, scores={"right": 0.4})

    page = use_cases_page.page({"base": "models/x", "cases": {}}, [tried])

    assert "## Tutorial" in page
    assert "| 64 | 8 |" in page


def test_a_remark_is_shown_of_a_case_without_figures_too():
    page = use_cases_page.page({"base": "models/x", "cases": {}}, [], {"garden_chat": "Not measured."})

    assert page.endswith("\n## Garden chat\n\nNot measured.\n")


def test_what_was_tried_over_another_base_is_not_on_the_page():
    page = use_cases_page.page({"base": "models/x", "cases": {}}, [{**BASE_LINE, "base": "y"}, line(base="y")])

    assert "accuracy" not in page


def test_what_was_tried_with_other_examples_is_not_on_the_page():
    page = use_cases_page.page({"base": "models/x", "cases": {}}, [{**BASE_LINE, "data": "0"}, line(data="0")])

    assert "accuracy" not in page


def test_an_edit_of_the_examples_is_seen_in_their_digest(monkeypatch):
    case = use_cases_page.importlib.import_module("bank_messages")
    before = use_cases_page.data_of("bank_messages")

    monkeypatch.setattr(case, "TRAINING", [*case.TRAINING[1:], case.TRAINING[0] | {"text_input": "Another."}])

    assert use_cases_page.data_of("bank_messages") != before
    assert "accuracy" not in use_cases_page.page({"base": "models/x", "cases": {}}, [line(data=before)])


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


def test_every_goal_is_about_a_metric_that_its_case_has():
    for name, goals in use_cases_page.GOALS.items():
        case = use_cases.importlib.import_module(name)
        scores = case.score([""] * len(case.PROMPTS))

        assert {goal.metric for goal in goals} <= set(scores)
