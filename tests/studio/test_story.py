"""Create, watch, ask: the whole way with the mouse."""

import re

from patience import RUN_SECONDS


def test_the_example_leads_to_a_tuned_answer_in_six_actions(visitor):
    page = visitor.page
    visitor.open("/create")
    visitor.press("Try the example")
    visitor.press("Next: settings", role="link")
    visitor.press("Next: start")
    visitor.press("Start tuning")

    page.wait_for_url(re.compile(r"/studio/models/"))
    visitor.ready_model()
    with page.expect_navigation():
        page.locator("a.button.primary", has_text="Try").first.click()
    page.locator("[data-prompt]").fill("LXIII")
    page.get_by_role("button", name="Run all").click()

    answers = page.locator("token-stream")
    tuned = answers.last
    page.wait_for_function(
        "() => [...document.querySelectorAll('token-stream')].every((each) => each.textContent && !each.ariaBusy)",
        timeout=RUN_SECONDS * 1000,
    )
    assert tuned.text_content() == "LXIV"
    assert answers.count() == 2
    assert answers.first.text_content() != "LXIV"
