"""The whole story without a mouse, and in Turkish."""

import re

import pytest

from patience import RUN_SECONDS

pytestmark = pytest.mark.slow

MOST_TABS = 120


def go_to(page, what):
    """Press Tab until the focus is on what the selector means; each stop on the way must be visible."""
    for _ in range(MOST_TABS):
        page.keyboard.press("Tab")
        seen = page.evaluate(
            """what => {
                const now = document.activeElement;
                const style = getComputedStyle(now);
                const shown = now === document.body || style.outlineStyle !== "none";
                return [now.matches(what), shown, now.outerHTML.slice(0, 120)];
            }""",
            what,
        )
        assert seen[1], f"no visible focus: {seen[2]}"
        if seen[0]:
            return
    pytest.fail(f"{what} is not reached by Tab")


def enter(page, what):
    go_to(page, what)
    with page.expect_navigation():
        page.keyboard.press("Enter")


@pytest.mark.parametrize("language", ["en-US", "tr-TR"])
def test_the_story_by_keyboard(window, server, language):
    visitor = window(locale=language)
    page = visitor.open("/sign-in").page
    page.keyboard.type(server.key)
    with page.expect_navigation():
        page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.matches('.skip')")
    page.goto("/studio/create")
    enter(page, "form:has([value=example]) button")
    enter(page, ".foot a.primary")
    with page.expect_navigation():
        page.keyboard.press("Control+Enter")
    with page.expect_navigation():
        page.keyboard.press("Control+Enter")
    page.wait_for_url(re.compile("/studio/models/"))
    page.locator("a.primary[href*=playground]").wait_for(timeout=RUN_SECONDS * 1000)
    enter(page, "a.primary[href*=playground]")
    go_to(page, "[data-prompt]")
    page.keyboard.type("LXIII")
    page.keyboard.press("Control+Enter")

    page.wait_for_function(
        "() => [...document.querySelectorAll('token-stream')].at(-1).textContent === 'LXIV'", timeout=RUN_SECONDS * 1000
    )
