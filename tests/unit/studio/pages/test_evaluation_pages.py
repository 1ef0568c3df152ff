"""The pages of evaluations, over a stand-in for the API: what they show, and what they ask for."""

import html
import json
import re

import pytest
from starlette.testclient import TestClient

from staged_api import TIME, StagedApi
from tuningfork.studio.app import studio_app

HOSTILE = "<img src=x onerror=alert(1)>{{7*7}}"
SAME_ORIGIN = {"origin": "http://testserver", "sec-fetch-site": "same-origin"}
OWN = "/tuningfork/v1"
BASE, TUNED = "models/tiny", "tunedModels/t"
RUN = {
    "name": "evaluations/e",
    "displayName": "held out",
    "state": "SUCCEEDED",
    "source": {"dataset": "datasets/x", "displayName": "roman", "rowCount": 3},
    "models": [
        {"name": BASE, "displayName": "Tiny", "answerCount": 3, "leakCheck": "NOT_TUNED", "leakedExampleCount": 0},
        {"name": TUNED, "displayName": "counts", "answerCount": 3, "leakCheck": "DONE", "leakedExampleCount": 1},
    ],
    "measures": ["EXACT_MATCH", "ROUGE_L"],
    "exampleCount": 3,
    "answerCount": 6,
    "totalAnswerCount": 6,
    "scoredExampleCount": 3,
    "scores": [
        {"model": BASE, "measure": "EXACT_MATCH", "mean": 0.34, "low": 0.27, "high": 0.42},
        {"model": TUNED, "measure": "EXACT_MATCH", "mean": 0.91, "low": 0.86, "high": 0.95},
    ],
    "differences": [
        {"firstModel": BASE, "secondModel": TUNED, "measure": "EXACT_MATCH", "mean": -0.57, "low": -0.6, "high": -0.5}
    ],
    "createTime": TIME,
}
ROW = {
    "number": 17,
    "verdict": "LOST",
    "input": "MCM",
    "expected": "MCMI",
    "answers": [
        {"model": BASE, "text": "1900 is", "scores": [{"measure": "EXACT_MATCH", "score": 0}]},
        {"model": TUNED, "text": "MCMII", "scores": [{"measure": "EXACT_MATCH", "score": 0}]},
    ],
}
ROWS = {
    "rows": [ROW],
    "totalSize": 1,
    "model": TUNED,
    "measure": "EXACT_MATCH",
    "verdicts": [{"verdict": "LOST", "count": 11}, {"verdict": "TIED", "count": 30}, {"verdict": "WON", "count": 79}],
}


@pytest.fixture
def api():
    api = StagedApi()
    api.answers |= {
        f"GET {OWN}/evaluations": {"evaluations": [RUN]},
        f"POST {OWN}/evaluations": {**RUN, "state": "QUEUED"},
        f"GET {OWN}/evaluations/e": RUN,
        f"GET {OWN}/evaluations/e/rows": ROWS,
        f"POST {OWN}/evaluations/e:stop": RUN,
        f"DELETE {OWN}/evaluations/e": {},
    }
    return api


@pytest.fixture
def browser(api):
    app = studio_app("http://testserver", transport=api.transport())
    with TestClient(app, headers=SAME_ORIGIN, follow_redirects=False) as client:
        yield client


def shown(answer):
    """The texts of a page."""
    assert answer.status_code in {200, 400}, answer.text
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", answer.text)).split())


@pytest.mark.parametrize("path", ["", "/new", "/e"])
def test_every_page_is_there_in_every_language(browser, path):
    for language in ("en", "de", "tr", "ru", "hi", "zh"):
        answer = browser.get(f"/studio/evaluations{path}", headers={"accept-language": language})
        assert answer.status_code == 200, answer.text
        assert f'<html lang="{language}"' in answer.text


def test_a_page_shows_scores_with_intervals_and_who_is_better(browser, api):
    api.answers[f"GET {OWN}/evaluations/e"] = {**RUN, "differences": [{**RUN["differences"][0], "clear": True}]}
    page = shown(browser.get("/studio/evaluations/e"))
    assert "counts 91% (86% to 95%)" in page
    assert "Tiny 34% (27% to 42%)" in page
    assert "counts is better than Tiny by 57 percentage points." in page
    assert "counts was trained on 1 of these examples" in page
    assert "Lost 11" in page
    assert "Add 11 failures to data" in page


def test_too_few_examples_are_said(browser):
    assert "Too few examples to tell counts and Tiny apart." in shown(browser.get("/studio/evaluations/e"))


def test_an_answer_is_shown_as_it_differs_from_the_expected_one(browser):
    page = browser.get("/studio/evaluations/e").text
    assert "<del>MCMI</del><ins>MCMII</ins>" in page


def test_the_address_chooses_model_measure_verdict_and_words(browser, api):
    browser.get(f"/studio/evaluations/e?model={BASE}&measure=ROUGE_L&verdict=LOST&search=mcm&page=2")
    [asked] = [query for name, query, _ in api.asked if name == f"GET {OWN}/evaluations/e/rows"]
    wanted = {"model": BASE, "measure": "ROUGE_L", "verdict": "LOST", "search": "mcm", "start": "25", "count": "25"}
    assert {name: asked[name] for name in wanted} == wanted


def test_what_an_address_should_not_ask_is_as_usual(browser, api):
    browser.get("/studio/evaluations/e?model=models/other&measure=LUCK&verdict=DRAWN&page=-3")
    [asked] = [query for name, query, _ in api.asked if name == f"GET {OWN}/evaluations/e/rows"]
    assert (asked["measure"], asked["start"], "model" in asked, "verdict" in asked) == (
        "EXACT_MATCH",
        "0",
        False,
        False,
    )


def test_what_stands_in_texts_is_never_markup(browser, api):
    row = {**ROW, "input": HOSTILE, "expected": HOSTILE, "systemInstruction": HOSTILE, "trainedOnBy": [HOSTILE]}
    row["answers"] = [{"model": TUNED, "text": HOSTILE * 2, "scores": []}, {"model": BASE, "problem": HOSTILE}]
    api.answers[f"GET {OWN}/evaluations/e/rows"] = {**ROWS, "rows": [row]}
    model = {**RUN["models"][1], "displayName": HOSTILE}
    api.answers[f"GET {OWN}/evaluations/e"] = {**RUN, "displayName": HOSTILE, "models": [model], "error": HOSTILE}
    page = browser.get("/studio/evaluations/e").text
    assert "<img" not in page
    assert "49" not in shown(browser.get("/studio/evaluations/e"))


def test_a_running_evaluation_asks_again_and_can_be_stopped(browser, api):
    running = {**RUN, "state": "RUNNING", "answerCount": 3, "secondsLeft": 12.2}
    api.answers[f"GET {OWN}/evaluations/e"] = running
    answer = browser.get("/studio/evaluations/e", headers={"studio-fragment": "scores"})
    assert answer.headers["studio-every"] == "1000"
    assert "3 of 6 answers are there. About 12 seconds left." in shown(answer)
    assert browser.post("/studio/evaluations/e/stop").headers["location"] == "/studio/evaluations/e"
    assert api.sent(f"POST {OWN}/evaluations/e:stop") == [{}]


def test_failures_become_a_data_set(browser, api):
    answer = browser.post("/studio/evaluations/e/add-failures", data={"model": TUNED, "measure": "EXACT_MATCH"})
    assert answer.headers["location"] == "/studio/create/x/check"
    asked = [query for name, query, _ in api.asked if name == f"GET {OWN}/evaluations/e/rows"][-1]
    assert (asked["verdict"], asked["count"], asked["cellCharacters"]) == ("LOST", "200", "1000000")
    [sent] = api.sent(f"POST {OWN}/datasets")
    assert [json.loads(line) for line in sent.splitlines()] == [{"text_input": "MCM", "output": "MCMI"}]


def test_failures_of_conversations_are_conversations(browser, api):
    row = {
        **ROW,
        "systemInstruction": "s",
        "earlierTurns": [{"role": "user", "text": "a"}, {"role": "model", "text": "b"}],
    }
    api.answers[f"GET {OWN}/evaluations/e/rows"] = {**ROWS, "rows": [row]}
    browser.post("/studio/evaluations/e/add-failures", data={})
    [sent] = api.sent(f"POST {OWN}/datasets")
    roles = [(each["role"], each["content"]) for each in json.loads(sent)["messages"]]
    assert roles == [("system", "s"), ("user", "a"), ("assistant", "b"), ("user", "MCM"), ("assistant", "MCMI")]


def test_the_form_compares_a_tuned_model_with_its_base(browser, api):
    page = browser.get("/studio/evaluations/new").text.partition('name="model0"')[2]
    assert re.findall(r'<option value="([^"]+)" selected>', page)[:2] == [BASE, TUNED]


def test_the_form_begins_one_evaluation(browser, api):
    form = {"model0": BASE, "model1": TUNED, "model2": TUNED, "data": "dataset:datasets/x", "requestId": "once"}
    answer = browser.post("/studio/evaluations/new", data={**form, "maxExamples": "50", "temperature": "0,5"})
    assert answer.headers["location"] == "/studio/evaluations/e"
    [sent] = api.sent(f"POST {OWN}/evaluations")
    wanted = {"models": [BASE, TUNED], "dataset": "datasets/x", "requestId": "once", "maxExamples": 50}
    assert sent == {**wanted, "temperature": 0.5}


def test_what_the_api_refuses_is_said_beside_what_was_typed(browser, api):
    api.refuse(f"POST {OWN}/evaluations", message="models must differ")
    answer = browser.post(
        "/studio/evaluations/new", data={"model0": TUNED, "data": "kept:tunedModels/t", "maxExamples": "7"}
    )
    assert answer.status_code == 400
    assert "models must differ" in shown(answer)
    assert 'name="maxExamples" inputmode="numeric" maxlength="20" value="7"' in answer.text


def test_a_number_that_is_none_is_said_before_anything_is_asked(browser, api):
    answer = browser.post(
        "/studio/evaluations/new", data={"model0": TUNED, "data": "dataset:datasets/x", "maxExamples": "many"}
    )
    assert "many is no number." in shown(answer)
    assert api.sent(f"POST {OWN}/evaluations") == []


def test_without_evaluations_the_page_offers_what_was_kept_back(browser, api):
    api.answers[f"GET {OWN}/evaluations"] = {}
    assert "Nothing evaluated yet" in shown(browser.get("/studio/evaluations"))
    tuned = {**api.answers[f"GET {OWN}/tunedModels"]["tunedModels"][0], "role": "OWNER"}
    api.answers[f"GET {OWN}/tunedModels"] = {"tunedModels": [tuned]}
    api.answers[f"GET {OWN}/tunedModels/t/job"] = {**tuned, "data": {"validationExampleCount": 48}}
    assert "Use the 48 examples that were kept back when counts was tuned." in shown(browser.get("/studio/evaluations"))


def test_a_deleted_evaluation_leads_to_the_list(browser, api):
    assert browser.post("/studio/evaluations/e/delete").headers["location"] == "/studio/evaluations"
