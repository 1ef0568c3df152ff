"""Who gets in, and what every answer carries."""

import httpx
import pytest

pytestmark = pytest.mark.slow

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'; require-trusted-types-for 'script'; "
    "trusted-types studio-pages"
)


def test_a_wrong_key_is_told_at_its_field_and_the_right_one_opens_the_library(window, server):
    visitor = window()
    page = visitor.page
    visitor.watch.allow(400, 401, 403)
    visitor.sign_in("wrong-key")

    field = page.locator("input[name=key]")
    assert field.get_attribute("aria-invalid") == "true"
    assert page.evaluate("document.activeElement.name") == "key"
    assert page.get_by_role("alert").inner_text()
    assert "@" not in page.get_by_role("alert").inner_text()

    visitor.sign_in()
    assert page.get_by_role("heading", level=1).inner_text() == "Library"
    (cookie,) = [each for each in page.context.cookies() if each["name"].startswith("tuningfork_session")]
    assert (cookie["httpOnly"], cookie["sameSite"], cookie["path"]) == (True, "Lax", "/studio")
    kept = page.evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie, location.href])")
    assert server.key not in kept + page.content() + cookie["value"] + server.log.read_text()


@pytest.mark.parametrize(
    "path", ["/studio/sign-in", "/studio/library", "/studio/create", "/studio/nowhere", "/studio/api/x"]
)
def test_every_answer_has_the_headers_of_security(server, path):
    answer = httpx.get(f"{server.url}{path}")

    assert answer.headers["content-security-policy"] == CONTENT_SECURITY_POLICY
    assert answer.headers["x-frame-options"] == "DENY"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("headers", [{"origin": "https://evil.example"}, {"sec-fetch-site": "cross-site"}])
@pytest.mark.parametrize("path", ["/studio/sign-in", "/studio/create", "/studio/api/tuningfork/v1/datasets?name=a.csv"])
def test_what_a_foreign_page_sends_is_refused(server, path, headers):
    assert httpx.post(f"{server.url}{path}", headers=headers, content="key=x").status_code == 403


def test_nobody_gets_in_without_a_session(server):
    assert httpx.get(f"{server.url}/studio/create").headers["location"].startswith("/studio/sign-in")
    assert httpx.get(f"{server.url}/studio/api/tuningfork/v1/datasets").status_code == 401


def test_signing_out_in_one_tab_leaves_what_is_typed_in_the_other(window):
    visitor = window().sign_in()
    dataset = visitor.stage()
    visitor.open(f"/create/{dataset}/settings")
    page = visitor.page
    page.get_by_label("Description").fill("half a sentence")
    page.get_by_text("Kept", exact=True).wait_for()
    other = page.context.new_page()
    other.goto("/studio/library")
    other.locator("details.settings summary").click()
    with other.expect_navigation():
        other.get_by_role("button", name="Sign out").click()

    visitor.watch.allow(401)
    page.get_by_label("Epochs").fill("7")

    page.get_by_text("You are signed out").wait_for()
    assert page.get_by_label("Description").input_value() == "half a sentence"
