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


KEPT = {"checkpoints": [{"number": 1, "step": 16}, {"number": 2, "step": 19, "default": True}]}


def test_checkpoints_of_a_model_can_be_chosen_and_are_asked_where_they_are(browser, api):
    api.answers["GET /tuningfork/v1/tunedModels/t/checkpoints"] = KEPT

    page = browser.get("/studio/playground?models=t,t/checkpoints/1")

    assert columns(page) == ["tunedModels/t", "tunedModels/t/checkpoints/1"]
    assert 'data-path="/tuningfork/v1/tunedModels/t/checkpoints/1"' in page.text
    assert 'data-source="tunedModels/t" data-path="/v1beta/tunedModels/t"' in page.text
    assert '<option value="tunedModels/t/checkpoints/1" selected>counts, step 16</option>' in page.text


def test_a_checkpoint_alone_stands_beside_its_base(browser, api):
    api.answers["GET /tuningfork/v1/tunedModels/t/checkpoints"] = KEPT

    assert columns(browser.get("/studio/playground?models=t/checkpoints/2")) == [
        "models/tiny",
        "tunedModels/t/checkpoints/2",
    ]


def test_settings_that_a_model_does_not_take_are_disabled_and_say_why(browser, api):
    limits = {"name": "models/tiny", "jsonMode": False, "systemInstruction": False, "maxTemperature": 1.5}
    api.answers["GET /tuningfork/v1/models"] = {"models": [limits]}

    page = browser.get("/studio/playground?models=t").text

    assert re.search(r'<textarea data-schema [^>]*disabled aria-describedby="schema-hint"', page)
    assert re.search(r'<textarea data-system [^>]*disabled aria-describedby="system-hint"', page)
    assert page.count("Not possible here: Tiny, counts does not take it.") == 2
    assert 'data-most="1.5"' in page


@pytest.mark.parametrize("answer", [{"error": {"code": 404, "status": "NOT_FOUND", "message": "no"}}, {}])
def test_a_server_that_tells_no_limits_forbids_nothing(browser, api, answer):
    api.answers["GET /tuningfork/v1/models"] = answer

    assert " disabled aria-describedby" not in browser.get("/studio/playground?models=t").text


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
