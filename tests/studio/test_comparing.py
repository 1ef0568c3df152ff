"""Several models in one chart and side by side in tables."""

import pytest

from visitor import PAIRS, tuned_model

pytestmark = pytest.mark.slow


@pytest.fixture
def pair(server):
    """Two models that are ready, of different data."""
    return tuned_model(server), tuned_model(server, name="fewer", pairs=PAIRS[:9])


def losses(visitor, model):
    with visitor.server.client() as client:
        series = client.get(f"/tuningfork/v1/tunedModels/{model}/series").json()
    return {point["step"]: point["meanLoss"] for point in series["training"]}


def test_models_that_are_chosen_in_the_library_are_compared_by_their_own_losses(visitor, pair):
    page = visitor.open("/library").page
    button = page.get_by_role("button", name="Compare the chosen")
    page.get_by_role("checkbox", name="Choose counting").check()
    assert button.is_disabled()
    page.get_by_role("checkbox", name="Choose fewer").check()
    with page.expect_navigation(url="**/compare?models=*"):
        button.click()
    page.get_by_role("button", name="Table").click()

    head, *rows = page.locator("loss-comparison tr").all_inner_texts()
    names = head.split("\t")[1:]
    models = [pair[0] if "counting" in name else pair[1] for name in names]
    shown = [row.split("\t") for row in rows]
    for place, model in enumerate(models, start=1):
        written = {int(row[0]): float(row[place]) for row in shown if row[place].isascii()}
        assert written == losses(visitor, model)


def test_the_cursor_says_what_each_model_has_and_switches_ask_the_server_nothing(visitor, pair):
    page = visitor.open(f"/compare?models={','.join(pair)}").page
    page.locator("loss-comparison svg g.run").last.wait_for(state="attached")
    page.wait_for_load_state("networkidle")
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    area = page.get_by_role("slider")
    area.focus()
    page.keyboard.press("Home")

    said = area.get_attribute("aria-valuetext")
    assert said.startswith("Step 1: A ")
    assert " · B " in said
    page.keyboard.press("l")
    page.get_by_role("combobox", name="Along").select_option("epoch")
    assert page.get_by_role("combobox", name="Scale").input_value() == "true"
    assert asked == []
    assert page.locator("loss-comparison svg g.run").count() == 2


def test_the_answers_of_compared_models_are_a_link_away(visitor, pair):
    page = visitor.open(f"/compare?models={','.join(pair)}").page
    with page.expect_navigation(url="**/playground?models=*"):
        page.get_by_role("link", name="Ask them").click()

    assert page.locator(".answer").count() == 2
