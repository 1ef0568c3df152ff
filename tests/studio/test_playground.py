"""Several models side by side, each on its own; answers that are corrected become data."""

import json
import os
import subprocess
import sys

import pytest

from visitor import answered, tuned_model

pytestmark = pytest.mark.slow


@pytest.fixture
def counting(server):
    return tuned_model(server)


def test_a_model_that_fails_leaves_the_others_alone(visitor, counting):
    visitor.watch.allow(403, 404)
    page = visitor.open(f"/playground?models={counting},tunedModels/nowhere&p=XIX").page
    page.get_by_role("button", name="Run all").click()
    answered(page)

    tuned, nowhere = page.locator(".answer").all()
    assert tuned.locator("token-stream").text_content() == "XX"
    assert nowhere.get_by_role("alert").inner_text()


def test_prompts_and_models_are_in_the_address(visitor, counting):
    page = visitor.open(f"/playground?models={counting}").page
    page.locator("[data-prompt]").first.fill("XIX")
    page.get_by_role("button", name="Add a prompt").click()
    page.locator("[data-prompt]").last.fill("七")
    page.get_by_role("button", name="Run all").click()
    answered(page)
    page.reload()

    assert [field.input_value() for field in page.locator("[data-prompt]").all()] == ["XIX", "七"]
    assert page.locator(".answer").count() == 4


def test_an_answer_that_is_corrected_becomes_an_example_of_the_next_tuning(visitor, counting):
    page = visitor.open(f"/playground?models={counting}&p=LXIII").page
    page.get_by_role("button", name="Run all").click()
    answered(page)
    tuned = page.locator(".answer").last
    tuned.get_by_role("button", name="Correct").click()
    tuned.locator("[data-correction] textarea").fill("sixty-four")
    tuned.get_by_role("button", name="Add to data").click()
    page.get_by_text("1 correction", exact=True).wait_for()
    with page.expect_navigation():
        page.get_by_role("link", name="Tune again with them").click()

    page.get_by_text("sixty-four", exact=True).first.wait_for()
    dataset = page.url.split("/create/")[1].partition("/")[0]
    with visitor.server.client() as client:
        kept = client.get(f"/tuningfork/v1/datasets/{dataset}").json()
        assert client.get(f"/tuningfork/v1/datasets/{dataset}/rows").json()["rows"][0]["cells"] == [
            "LXIII",
            "sixty-four",
        ]
    assert kept["draft"]["settings"]["source"] == f"tunedModels/{counting}"


def test_stop_ends_an_answer(visitor, counting):
    page = visitor.open(f"/playground?models={counting}&p=LXIII").page
    held = []

    def hold(route):
        held.append(route)

    page.route("**/studio/api/v1beta/**", hold)
    page.get_by_role("button", name="Run all").click()
    page.wait_for_function("document.querySelector('token-stream').ariaBusy === 'true'")
    page.keyboard.press("Escape")

    page.get_by_text("Stopped.").first.wait_for()
    assert page.get_by_role("button", name="Stop").is_disabled()
    assert held


COMMANDS = {
    "curl": ["bash", "-c"],
    "javascript": ["node", "--input-type=module", "-e"],
    "requests": [sys.executable, "-c"],
}


def test_programs_that_are_copied_from_the_page_give_the_tuned_answer(visitor, counting):
    pytest.importorskip("requests")
    page = visitor.open(f"/models/{counting}/code?prompt=LXIII&temperature=0").page
    assert visitor.server.key not in page.content()
    environment = {**os.environ, "TUNINGFORK_API_KEY": visitor.server.key}

    for name, command in COMMANDS.items():
        code = page.locator(f"#{name} pre code").text_content()
        done = subprocess.run(
            [*command, code], env=environment, capture_output=True, text=True, check=True, timeout=180
        )
        said = (
            json.loads(done.stdout)["candidates"][0]["content"]["parts"][0]["text"] if name == "curl" else done.stdout
        )
        assert said.strip() == "LXIV"
