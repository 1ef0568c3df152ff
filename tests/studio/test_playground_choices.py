"""Choosing without names, answers in a JSON form, what was asked before, and checkpoints as columns."""

import json

import pytest

from visitor import PAIRS, answered, tuned_model

pytestmark = pytest.mark.slow


@pytest.fixture
def counting(server):
    return tuned_model(server)


def run(page):
    page.get_by_role("button", name="Run all").click()
    answered(page)


def names(page):
    return page.locator("#questions [data-name]").all_inner_texts()


def test_names_are_hidden_until_one_answer_is_chosen(visitor, counting):
    page = visitor.open(f"/playground?models={counting}&p=LXIII").page
    page.get_by_label("Hide the names").check()
    run(page)
    assert names(page) == ["Answer 1", "Answer 2"]
    hidden = page.locator("#questions").inner_text()
    assert "counting" not in hidden
    assert "tokens" not in hidden

    page.locator(".answer", has_text="LXIV").get_by_role("button", name="is better").click()
    assert "counting (your choice)" in names(page)
    assert page.locator("[data-votes] dd").all_inner_texts() == ["0", "1"]
    page.reload()
    assert page.locator("[data-votes] dd").all_inner_texts() == ["0", "1"]
    page.get_by_label("Hide the names").check()
    run(page)
    assert names(page) == ["Answer 1", "Answer 2"]


def test_what_a_model_does_not_take_is_disabled_with_the_reason(visitor, counting):
    page = visitor.open(f"/playground?models={counting}").page
    page.locator("#playground summary", has_text="Settings").click()

    assert page.locator("[data-schema]").is_disabled()
    assert page.locator("#schema-hint").inner_text().endswith("counting does not take it.")
    visitor.open("/playground?models=models/tuningfork-mini-001")
    assert page.locator("[data-schema]").is_enabled()


def test_an_answer_keeps_to_a_schema_and_one_that_is_none_is_told(visitor, server):
    model = tuned_model(server, name="own", base="models/tuningfork-mini-001")
    page = visitor.open(f"/playground?models={model}&p=XIX").page
    page.locator("#playground summary", has_text="Settings").click()
    schema = page.locator("[data-schema]")
    schema.fill("{type: object}")
    page.get_by_role("button", name="Run all").click()
    page.get_by_text("This schema is not JSON").wait_for()
    assert schema.get_attribute("aria-invalid") == "true"

    schema.fill('{"type": "object", "properties": {"next": {"enum": ["XX", "XXI"]}}, "required": ["next"]}')
    run(page)

    said = json.loads(page.locator("token-stream").first.text_content())
    assert said["next"] in {"XX", "XXI"}


def test_a_setting_beyond_the_models_limit_is_told_before_anything_is_sent(visitor, counting):
    page = visitor.open(f"/playground?models={counting}&p=XIX").page
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.locator("#playground summary", has_text="Settings").click()
    page.get_by_label("Temperature").fill("99")
    page.get_by_role("button", name="Run all").click()

    page.get_by_text("Temperature must be at most").wait_for()
    assert not [url for url in asked if "streamGenerateContent" in url]


def test_what_was_asked_before_is_a_link_until_it_is_cleared(visitor, counting):
    page = visitor.open(f"/playground?models={counting}").page
    page.locator("[data-prompt]").fill("<b>XIX</b> 七")
    run(page)
    visitor.open("/playground")
    page.get_by_text("Asked before in this browser").click()
    with page.expect_navigation():
        page.get_by_role("link", name="<b>XIX</b> 七").click()
    assert page.locator("[data-prompt]").input_value() == "<b>XIX</b> 七"

    page.get_by_text("Asked before in this browser").click()
    page.locator("[data-clear-history]").click()
    page.reload()
    assert page.locator("#history").is_hidden()


def test_signing_out_forgets_what_was_asked(visitor, counting):
    page = visitor.open(f"/playground?models={counting}&p=XIX").page
    run(page)
    assert page.evaluate("Object.keys(localStorage).some((key) => key.startsWith('tuningfork-asked:'))")
    page.locator("details.settings summary").click()
    visitor.press("Sign out")

    assert not page.evaluate("Object.keys(localStorage).some((key) => key.startsWith('tuningfork-asked:'))")


def test_the_differences_are_shown_and_hidden_again_with_a_key(visitor, counting):
    page = visitor.open(f"/playground?models={counting},models/gemini-1.0-pro-001&p=LXIII").page
    run(page)
    page.locator("h1").click()
    page.keyboard.press("d")
    page.locator("[data-diff] del").first.wait_for()
    assert page.locator("[data-diff]").last.text_content().startswith("LXIV")
    page.keyboard.press("d")

    page.locator("[data-diff]").last.wait_for(state="hidden")
    assert page.locator("token-stream").last.is_visible()


def test_a_checkpoint_stands_beside_its_model_and_answers_itself(visitor, server):
    with server.client() as client:
        task = {
            "trainingData": {"examples": {"examples": [{"textInput": a, "output": b} for a, b in PAIRS]}},
            "hyperparameters": {"epochCount": 20, "batchSize": 4, "learningRate": 0.001},
            # It stops one step after its best one, and keeps both.
            "validation": {
                "heldOutPercent": 20,
                "evaluateEvery": 1,
                "keepBest": True,
                "earlyStopping": {"patience": 1},
            },
        }
        made = client.post(
            "/tuningfork/v1/tunedModels",
            json={"displayName": "kept", "baseModel": "models/gemini-1.0-pro-001", "tuningTask": task},
        )
    assert made.status_code == 200, made.text
    model = made.json()["metadata"]["tunedModel"].removeprefix("tunedModels/")
    visitor.open(f"/models/{model}").ready_model()
    page = visitor.page
    with page.expect_navigation():
        page.get_by_role("link", name="Try the checkpoint of step").first.click()
    page.locator("[data-prompt]").fill("LXIII")
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    run(page)

    assert [url for url in asked if f"{model}/checkpoints/" in url and "streamGenerateContent" in url]
    assert all(each.is_hidden() for each in page.locator("[data-problem]").all())
