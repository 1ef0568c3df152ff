"""The playground and the page of programs, over a stand-in for the API."""

import html
import re

import pytest
from starlette.testclient import TestClient

from staged_api import StagedApi
from tuningfork.studio.app import studio_app

SAME_ORIGIN = {"origin": "http://testserver", "sec-fetch-site": "same-origin"}


@pytest.fixture
def api():
    return StagedApi()


@pytest.fixture
def browser(api):
    app = studio_app("http://models.example:8000", transport=api.transport())
    with TestClient(app, headers=SAME_ORIGIN, follow_redirects=False) as client:
        yield client


def columns(page):
    """The models of the first prompt, in order."""
    return re.findall(r'data-model="([^"]*)"', page.text.partition('id="question"')[0])


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ("", ["models/tiny", "tunedModels/t"]),
        ("?models=t", ["models/tiny", "tunedModels/t"]),
        ("?models=tunedModels/t,models/tiny", ["tunedModels/t", "models/tiny"]),
        ("?models=tunedModels/t&models=&models=models/tiny", ["tunedModels/t", "models/tiny"]),
        ("?models=models/other", ["models/other"]),
        ("?models=a,b,c,d,e", ["tunedModels/a", "tunedModels/b", "tunedModels/c", "tunedModels/d"]),
    ],
)
def test_the_models_of_the_address_are_side_by_side(browser, query, shown):
    assert columns(browser.get(f"/studio/playground{query}")) == shown


def test_the_prompts_of_the_address_are_in_the_fields_as_text(browser):
    page = browser.get("/studio/playground", params={"p": ["LXIII", "</textarea><script>"]}).text

    assert [html.unescape(each) for each in re.findall(r"data-prompt placeholder=\"[^\"]*\">([^<]*)<", page)][:2] == [
        "LXIII",
        "</textarea><script>",
    ]


def test_corrections_are_counted_and_lead_to_the_next_tuning(browser, api):
    page = browser.get("/studio/playground?data=x").text

    assert "3 corrections" in page
    assert 'href="/studio/create/x/check"' in page
    assert browser.get("/studio/playground?data=gone").status_code == 200


def test_a_difference_is_pieces_of_text(browser):
    answer = browser.post("/studio/playground/difference", data={"before": "a <b>", "after": "a <c>"})

    assert answer.json()["pieces"] == [
        {"text": "a <", "change": "same"},
        {"text": "b", "change": "removed"},
        {"text": "c", "change": "added"},
        {"text": ">", "change": "same"},
    ]


def test_a_server_without_any_model_says_so(browser, api):
    api.answers["GET /v1beta/models"] = {}
    api.answers["GET /tuningfork/v1/tunedModels"] = {}

    assert "No model is ready yet" in browser.get("/studio/playground").text


def test_programs_hold_the_server_the_model_and_the_prompt_but_no_key(browser):
    page = html.unescape(browser.get("/studio/models/t/code", params={"prompt": 'say "x"', "temperature": "x"}).text)

    assert "http://models.example:8000/v1beta/tunedModels/t:generateContent" in page
    assert r'"say \"x\""' in page
    assert "$TUNINGFORK_API_KEY" in page
    assert "temperature=0" not in page.replace("temperature=x", "")
