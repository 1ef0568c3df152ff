"""Signing in at an OpenID Connect issuer, in a real browser, at a real server that trusts it."""

import pytest

import issuer
import live_server

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def trusted():
    with issuer.running() as running:
        yield running


@pytest.fixture(scope="module")
def trusting(tmp_path_factory, trusted):
    """A server that trusts the issuer."""
    variables = {
        "TUNINGFORK_OIDC_ISSUER": trusted.url,
        "TUNINGFORK_OIDC_AUDIENCE": "tuningfork",
        "TUNINGFORK_OIDC_CLIENT_ID": issuer.CLIENT_ID,
        "TUNINGFORK_OIDC_CLIENT_SECRET": issuer.CLIENT_SECRET,
        "TUNINGFORK_OIDC_DEFAULT_SCOPES": "cloud-platform",
    }
    with live_server.running(tmp_path_factory.mktemp("issuer"), variables=variables) as running:
        yield running


def test_somebody_whom_the_issuer_knows_signs_in_and_out(elsewhere, trusting, trusted):
    visitor = elsewhere(trusting)
    page = visitor.open("/create?x=1").page
    page.get_by_role("link", name="Sign in with 127.0.0.1").click()
    page.wait_for_url("**/studio/create?x=1")

    page.locator("details.settings summary").click()
    assert "ada@example.com" in page.locator("details.settings").inner_text()
    cookies = {each["name"]: each for each in page.context.cookies()}
    (session,) = [each for name, each in cookies.items() if "session" in name]
    assert (session["httpOnly"], session["sameSite"], session["path"]) == (True, "Lax", "/studio")
    assert not [name for name in cookies if "hop" in name]
    visitor.press("Sign out")
    assert page.url.endswith("/sign-in?out=1")
    assert [each for each in visitor.watch.wrong if f"foreign host: {trusted.url}/authorize?" not in each] == []
    assert issuer.CLIENT_SECRET not in trusting.log.read_text()
