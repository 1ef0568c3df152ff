"""Evaluating in the Studio: from a model's page to its failures as new data, live, without a reload."""

import re

import pytest

from patience import RUN_SECONDS
from visitor import PAIRS

pytestmark = pytest.mark.slow

HELD = [("1", "2"), ("seven", "eight"), ("fifty", "fifty one"), ("7", "eight"), ("four", "no such number"), ("9", "9")]


def evaluated(visitor, *, rows=HELD, name="held out", models=None):
    """The path of the page of an evaluation that has ended, made through the API."""
    with visitor.server.client() as client:
        dataset = visitor.stage(rows, name=name)
        body = {"models": models or ["models/tuningfork-mini-001"], "dataset": f"datasets/{dataset}"}
        made = client.post("/tuningfork/v1/evaluations", json=body).json()
    visitor.open(f"/{made['name']}")
    ended(visitor, len(rows))
    return f"/{made['name']}"


def ended(visitor, count):
    """Wait until the page says so, and shows every row."""
    said = visitor.page.locator("p.sentence").filter(has_text="All models have answered")
    said.wait_for(timeout=RUN_SECONDS * 1000)
    visitor.page.locator("#answers tbody tr").nth(count - 1).wait_for()


def tuned_with_kept_back(server):
    """The id of a tuned model whose job kept three examples back."""
    with server.client() as client:
        pairs = [{"textInput": asked, "output": answer} for asked, answer in PAIRS]
        task = {"hyperparameters": {"epochCount": 30}, "trainingData": {"examples": {"examples": pairs}}}
        body = {"displayName": "counting on", "baseModel": "models/tuningfork-mini-001", "tuningTask": task}
        body["tuningTask"]["validation"] = {"heldOutPercent": 20}
        made = client.post("/tuningfork/v1/tunedModels", json=body)
        assert made.status_code == 200, made.text
    return made.json()["metadata"]["tunedModel"].removeprefix("tunedModels/")


def test_a_model_is_evaluated_and_its_failures_become_data(visitor):
    model = tuned_with_kept_back(visitor.server)
    page = visitor.open(f"/models/{model}").page
    visitor.ready_model()
    with page.expect_navigation(url="**/evaluations/new?models=*"):
        page.locator(".head").get_by_role("link", name="Evaluate").click()
    kept = page.get_by_role("combobox", name="Examples")
    assert "counting on: 3 examples" in kept.inner_text()
    assert page.get_by_role("combobox", name="Model 2").evaluate("each => each.value") == f"tunedModels/{model}"
    dataset = visitor.stage([*HELD, *PAIRS[:4]], name="held out")
    visitor.open(f"/evaluations/new?models={model}&data={dataset}")
    page.keyboard.press("Control+Enter")
    page.wait_for_url(re.compile(r"/studio/evaluations/[a-z0-9]{12}$"))

    # Live: it goes on to its end on a page that is never loaded again.
    page.evaluate("window.stayed = true")
    ended(visitor, 10)
    assert page.evaluate("window.stayed")
    assert "was trained on" in page.locator(".finding").inner_text()

    verdicts = page.locator("#answers tbody .badge").all_inner_texts()
    assert verdicts == sorted(verdicts, key=["Lost", "Tied", "Won"].index)
    assert verdicts[0] == "Lost"
    lost = verdicts.count("Lost")
    visitor.shot("evaluation-story")

    page.get_by_role("searchbox").fill("no such")
    page.locator("#answers tbody tr").nth(1).wait_for(state="detached")
    assert page.locator("#row-5").inner_text().count("no such number") >= 1
    assert page.locator("#row-5 del").first.is_visible()
    page.keyboard.press("Escape")
    page.locator("h1").click()
    page.keyboard.press("d")
    assert not page.locator("#row-5 del").first.is_visible()

    page.get_by_role("button", name=f"Add {lost} failures to data").click()
    page.wait_for_url("**/studio/create/*/check")
    made = re.search(r"/create/([^/]+)/check", page.url)[1]
    with visitor.server.client() as client:
        rows = client.get(f"/tuningfork/v1/datasets/{made}/rows").json()
    assert rows["rowCount"] == lost
    assert ["four", "no such number"] in [row["cells"] for row in rows["rows"]]


def test_what_stands_in_answers_and_questions_is_never_markup(visitor):
    hostile = "<img src=x onerror=window.canary=1>{{7*7}}"
    evaluated(visitor, rows=[(hostile, f"expected {hostile}"), ("=1+1", "2")], name=hostile)
    page = visitor.page
    assert hostile in page.locator("#answers").inner_text()
    assert page.evaluate("window.canary") is None
    assert page.locator("main img").count() == 0


def test_rows_are_walked_by_keys_and_the_list_is_reached_by_two(visitor):
    evaluated(visitor)
    page = visitor.page
    page.keyboard.press("j")
    page.keyboard.press("j")
    assert page.evaluate("document.activeElement.closest('tr').id") == page.locator("#answers tbody tr").nth(
        1
    ).get_attribute("id")
    page.keyboard.press("k")
    with page.expect_navigation(url="**/evaluations"):
        page.keyboard.press("g")
        page.keyboard.press("e")
    assert page.get_by_role("link", name="held out").first.is_visible()
