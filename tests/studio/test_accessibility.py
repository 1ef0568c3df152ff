"""Every page, in both themes and on both screens: no finding of axe, nothing that overflows, a picture to look at."""

import json
from functools import partial

import pytest

from patience import RUN_SECONDS, wait_until
from visitor import PAIRS, tuned_model

pytestmark = pytest.mark.slow

SCREENS = {"desktop": {"width": 1280, "height": 900}, "phone": {"width": 390, "height": 844}}
LANGUAGES = ("de", "tr", "ru", "hi", "zh-CN")
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


@pytest.fixture(scope="module")
def paths(server):
    """The path of every page by the name of its picture."""
    model, other = tuned_model(server), tuned_model(server, name="fewer", pairs=PAIRS[:9])
    with server.client() as client:
        rows = "text_input,output\n" + "".join(f'"{a}","{b}"\n' for a, b in [*PAIRS, ("MCM", ""), ("1", "2")])
        made = client.post("/tuningfork/v1/datasets?name=a.csv&displayName=counting", content=rows.encode()).json()
        dataset = made["name"].removeprefix("datasets/")
        key = client.get("/tuningfork/v1/keys").json()["keys"][0]["name"].removeprefix("keys/")
        asked = {"models": ["models/tuningfork-mini-001", f"tunedModels/{model}"], "dataset": made["name"]}
        evaluation = client.post("/tuningfork/v1/evaluations", json=asked).json()["name"]
        done = partial(client.get, f"/tuningfork/v1/{evaluation}")
        wait_until(lambda: "completeTime" in done().json(), what="the evaluation has ended", seconds=RUN_SECONDS)
    return {
        "sign-in": "/sign-in",
        "library": "/library",
        "create-data": "/create",
        "create-dataset": f"/create/{dataset}",
        "create-columns": f"/create/{dataset}/columns",
        "create-check": f"/create/{dataset}/check",
        "create-settings": f"/create/{dataset}/settings",
        "create-start": f"/create/{dataset}/start",
        "model": f"/models/{model}",
        "code": f"/models/{model}/code",
        "compare": f"/compare?models={model},{other}",
        "compare-none": "/compare",
        "playground": f"/playground?models={model}&p=LXIII&p=XIX",
        "evaluations": "/evaluations",
        "evaluation-new": f"/evaluations/new?models={model}",
        "evaluation": f"/{evaluation}",
        "operations": "/operations",
        "operations-keys-new": "/operations/keys/new",
        "operations-keys-revoke": f"/operations/keys/{key}/revoke",
    }


def findings(page, axe):
    page.wait_for_load_state("networkidle")
    page.evaluate(axe)
    found = page.evaluate("rules => axe.run(document, { runOnly: rules }).then((found) => found.violations)", RULES)
    return [f"{each['id']}: {node['html'][:200]}" for each in found for node in each["nodes"]]


def overflow(page):
    return page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("screen", SCREENS)
def test_no_page_has_a_finding_or_overflows(window, paths, axe, screen, scheme):
    visitor = window(viewport=SCREENS[screen], color_scheme=scheme)
    visitor.sign_in()
    wrong = {}
    for name, path in paths.items():
        visitor.open(path)
        if name == "playground":
            visitor.page.locator("[data-run]").click()
            visitor.page.wait_for_function(
                "() => [...document.querySelectorAll('token-stream')].every((each) => each.textContent"
                " && !each.ariaBusy)"
            )
        # What lies below a bar that stays in place, because the page was scrolled to a button, counts as too small.
        visitor.page.evaluate("scrollTo(0, 0)")
        found = findings(visitor.page, axe)
        if overflow(visitor.page) > 0:
            found.append(f"{overflow(visitor.page)} px too wide")
        visitor.shot(f"{name}-{screen}-{scheme}")
        if found:
            wrong[name] = found

    assert wrong == {}, json.dumps(wrong, indent=2)


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_page_overflows_a_narrow_screen_in_any_language(window, paths, language):
    visitor = window(viewport={"width": 360, "height": 740}, locale=language)
    visitor.sign_in()
    wrong = {}
    for name, path in paths.items():
        page = visitor.open(path).page
        page.wait_for_load_state("networkidle")
        assert page.locator("html").get_attribute("lang") == language.partition("-")[0]
        if overflow(page) > 0:
            wrong[name] = overflow(page)
        visitor.shot(f"{name}-{language}")

    assert wrong == {}
