"""The pages that make a tuned model, over a stand-in for the API: what they show, and what they ask for."""

import html
import re

import pytest
from starlette.testclient import TestClient

from staged_api import FINDING, StagedApi
from tuningfork.studio.app import studio_app

HOSTILE = "<img src=x onerror=alert(1)>{{7*7}}"
SAME_ORIGIN = {"origin": "http://testserver", "sec-fetch-site": "same-origin"}
DATASET = "/tuningfork/v1/datasets/x"


@pytest.fixture
def api():
    return StagedApi()


@pytest.fixture
def browser(api):
    app = studio_app("http://testserver", transport=api.transport())
    with TestClient(app, headers=SAME_ORIGIN, follow_redirects=False) as client:
        yield client


def shown(answer):
    """The texts of a page."""
    assert answer.status_code in {200, 400}, answer.text
    return html.unescape(re.sub(r"<[^>]+>", " ", answer.text))


@pytest.mark.parametrize("step", ["", "/x", "/x/columns", "/x/check", "/x/settings", "/x/start"])
def test_every_step_is_a_page_in_every_language(browser, step):
    for language in ("en", "de", "tr", "ru", "hi", "zh"):
        answer = browser.get(f"/studio/create{step}", headers={"accept-language": language})

        assert answer.status_code == 200, answer.text
        assert f'<html lang="{language}"' in answer.text


@pytest.mark.parametrize("step", ["/x", "/x/columns", "/x/check", "/x/settings", "/x/start"])
def test_what_stands_in_the_data_is_never_markup(browser, api, step):
    api.dataset["displayName"] = HOSTILE
    api.dataset["columns"] = [{"name": HOSTILE, "role": "INPUT", "prefix": HOSTILE}, {"name": ":x", "role": "OUTPUT"}]
    api.answers[f"GET {DATASET}/rows"] = {"rows": [{"id": 0, "number": 1, "cells": [HOSTILE, None]}]}
    api.answers[f"POST {DATASET}:check"] = {
        "findings": [{**FINDING, "id": "new", "title": HOSTILE, "description": HOSTILE}]
    }
    preview = {"examples": [{"id": 0, "number": 1, "segments": [{"text": HOSTILE, "learned": True}]}]}
    api.answers[f"POST {DATASET}:preview"] = preview

    answer = browser.get(f"/studio/create{step}")

    assert HOSTILE not in answer.text
    assert "<img" not in answer.text
    assert HOSTILE in shown(answer)


@pytest.mark.parametrize("step", ["/x", "/x/columns", "/x/check", "/x/settings", "/x/start"])
def test_a_data_set_without_rows_or_columns_has_its_pages(browser, api, step):
    del api.dataset["columns"]
    api.dataset |= {"rowCount": 0, "kind": "CONVERSATIONS"}
    api.answers[f"GET {DATASET}/rows"] = {"rowCount": 0}
    api.refuse(f"POST {DATASET}:estimate")
    api.refuse(f"POST {DATASET}:check")
    api.refuse(f"POST {DATASET}:preview")

    assert browser.get(f"/studio/create{step}").status_code == 200


@pytest.mark.parametrize(
    ("what", "name", "step"),
    [("typed", "typed.csv", "/check"), ("example", "numbers.csv", "/check"), ("pasted", "pasted.tsv", "")],
)
def test_examples_of_a_form_become_a_data_set(browser, api, what, name, step):
    answer = browser.post("/studio/create", data={"from": what, "text": "a\tb\n1\t2\n"})

    (asked,) = [(query, body) for path, query, body in api.asked if path == "POST /tuningfork/v1/datasets"]
    assert asked[0]["name"] == name
    assert asked[1].startswith(b"a\tb\n1" if what == "pasted" else b"text_input,output\n")
    assert answer.headers["location"] == f"/studio/create/x{step}"


def test_what_the_server_refuses_to_read_is_told_and_stays_in_the_form(browser, api):
    api.refuse("POST /tuningfork/v1/datasets")

    answer = browser.post("/studio/create", data={"from": "pasted", "text": "half a table"})

    assert answer.status_code == 400
    assert "This is refused, for a test." in shown(answer)
    assert "half a table" in shown(answer)


def test_roles_and_prefixes_are_kept_in_the_order_of_the_columns(browser, api):
    form = {"role0": "OUTPUT", "prefix0": "a: ", "role1": "INPUT", "prefix1": ""}

    answer = browser.post("/studio/create/x/columns", data=form)

    assert api.sent(f"PATCH {DATASET}") == [
        {"columns": [{"role": "OUTPUT", "prefix": "a: "}, {"role": "INPUT", "prefix": ""}]}
    ]
    assert answer.headers["location"] == "/studio/create/x/check"


def test_a_finding_is_mended_and_the_change_taken_back(browser, api):
    api.answers[f"POST {DATASET}:check"] = {"findings": [FINDING]}
    api.dataset |= {"undoableEdits": 1, "lastEdit": "Removed 1 row"}
    page = shown(browser.get("/studio/create/x/check"))
    assert "1 thing must be mended" in page
    assert "row 3" in page
    assert "Removed 1 row" in page

    mended = browser.post("/studio/create/x/check", data={"finding": "empty_output", "fix": "remove_rows"})
    undone = browser.post("/studio/create/x/check", data={"action": "undo"})

    assert api.sent(f"POST {DATASET}:fix") == [
        {"finding": "empty_output", "fix": "remove_rows", "baseModel": "models/tiny"}
    ]
    assert api.sent(f"POST {DATASET}:undo") == [{}]
    assert mended.headers["location"] == undone.headers["location"] == "/studio/create/x/check"


def test_what_is_typed_is_kept_as_it_is_and_told_if_it_is_no_number(browser, api):
    browser.post("/studio/create/x/settings", data={"source": "tunedModels/t", "epochCount": "half a numb"})

    (kept,) = api.sent(f"PATCH {DATASET}")
    assert kept["draft"]["settings"] == {"source": "tunedModels/t", "epochCount": "half a numb"}
    api.dataset["draft"] = kept["draft"]
    page = browser.get("/studio/create/x/settings")
    assert 'value="half a numb"' in page.text
    assert "This is not a number" in shown(page)
    assert '<option value="tunedModels/t" selected>' in page.text


def test_a_refusal_of_a_setting_is_told_at_its_field(browser, api):
    violation = {"fieldViolations": [{"field": "tuned_model.tuning_task.hyperparameters.batch_size"}]}
    api.refuse(f"POST {DATASET}:estimate", details=[violation])

    page = browser.get("/studio/create/x/settings").text

    field = re.search(r'<input name="batchSize"[^>]*>', page)[0]
    assert 'aria-invalid="true"' in field
    assert re.search(r'id="batchSize-error">This is refused', page)
    assert "Correct the settings" in shown(browser.get("/studio/create/x/start"))


def test_a_start_is_one_request_with_an_id_of_its_form(browser, api):
    page = browser.get("/studio/create/x/start")
    (request_id,) = re.findall(r'name="request" value="([^"]+)"', page.text)

    answers = [browser.post("/studio/create/x/start", data={"request": request_id}) for _ in range(2)]

    asked = [query["requestId"] for path, query, _ in api.asked if path == "POST /tuningfork/v1/tunedModels"]
    assert asked == [request_id, request_id]
    assert {answer.headers["location"] for answer in answers} == {"/studio/models/new"}
    assert api.sent("POST /tuningfork/v1/tunedModels")[0] == {
        "displayName": "roman",
        "baseModel": "models/tiny",
        "tuningTask": {"dataset": "datasets/x"},
    }


def test_nothing_with_an_error_has_a_button_to_start(browser, api):
    api.answers[f"POST {DATASET}:check"] = {"findings": [FINDING]}

    page = browser.get("/studio/create/x/start")

    assert "Mend 1 error" in shown(page)
    assert "Start tuning" not in shown(page)


def test_a_data_set_of_somebody_else_is_not_there(browser):
    assert browser.get("/studio/create/other/check").status_code == 404


def test_the_example_of_numbers_begins_as_the_base_model_that_knows_numbers_where_there_is_one(browser, api):
    browser.post("/studio/create", data={"from": "example"})
    assert api.sent(f"PATCH {DATASET}") == []

    numbers = {"name": "models/tuningfork-mini-001", "supportedGenerationMethods": ["createTunedModel"]}
    api.answers["GET /v1beta/models"]["models"].append(numbers)
    browser.post("/studio/create", data={"from": "example"})

    assert api.sent(f"PATCH {DATASET}") == [{"draft": {"settings": {"source": "models/tuningfork-mini-001"}}}]


def test_an_estimate_that_is_ready_later_brings_what_empty_fields_stand_for(browser):
    fragment = browser.get("/studio/create/x/settings", headers={"studio-fragment": "estimate"}).text

    assert '<data hidden data-default-of="epochCount" value="5"></data>' in fragment
