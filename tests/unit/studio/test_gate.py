"""Every answer has the headers of security; what a foreign page sends reaches no page and no API."""

import anyio
import pytest

from studio_stand_in import GEMINI, OWN
from tuningfork.studio.frame.gate import StudioGate

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'; require-trusted-types-for 'script'; "
    "trusted-types studio-pages"
)


@pytest.mark.parametrize(
    "path",
    [
        *("/studio/library", "/studio/sign-in", "/studio/models/roman", "/studio/models/nobody", "/studio/nowhere"),
        *(f"/studio/api{OWN}/caller", f"/studio/api{OWN}/accessTokens", "/studio/static/x/nothing.js", "/studio"),
    ],
)
def test_every_answer_has_the_exact_headers(visit, api, path):
    headers = visit(api).get(path).headers

    assert headers["content-security-policy"] == POLICY
    assert headers["x-frame-options"] == "DENY"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "same-origin"
    assert headers["cross-origin-opener-policy"] == headers["cross-origin-resource-policy"] == "same-origin"
    assert headers["cache-control"] == "no-store"


def test_files_are_kept_for_ever_under_an_address_that_has_their_digest(visit, api):
    browser = visit(api)
    page = browser.get("/studio/library").text
    address = next(part for part in page.split('"') if part.endswith("/studio.css"))

    current = browser.get(address)
    of_another_version = browser.get("/studio/static/0123456789abcdef/studio.css")

    assert current.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert current.headers["content-type"] == "text/css; charset=utf-8"
    assert of_another_version.headers["cache-control"] == "no-store"


FOREIGN = [
    {"origin": "https://evil.example"},
    {"origin": "null"},
    {"origin": "http://testserver.evil.example"},
    {"origin": "http://testserver", "sec-fetch-site": "cross-site"},
    {"origin": "http://testserver", "sec-fetch-site": "same-site"},
    {"origin": "http://testserver:8001"},
    {"origin": ""},
]


@pytest.mark.parametrize("headers", FOREIGN)
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/studio/models/roman/delete"),
        ("POST", "/studio/sign-in"),
        ("POST", "/studio/sign-out"),
        ("POST", "/studio/preferences"),
        ("DELETE", f"/studio/api{GEMINI}/tunedModels/roman"),
        ("POST", f"/studio/api{OWN}/datasets"),
    ],
)
def test_what_a_foreign_page_sends_changes_nothing(visit, api, method, path, headers):
    browser = visit(api)

    answer = browser.request(method, path, headers=headers, content=b"key=x&typed=Roman numerals")

    assert answer.status_code == 403
    assert "set-cookie" not in answer.headers
    assert api.requests == []


def test_a_request_that_does_not_say_where_it_comes_from_is_refused(visit, api):
    browser = visit(api)
    del browser.headers["origin"]

    assert browser.post("/studio/sign-out").status_code == 403
    assert browser.post("/studio/sign-out", headers={"sec-fetch-site": "same-origin"}).status_code == 303


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_a_foreign_page_cannot_read_the_api_by_loading_it(visit, api, site):
    answer = visit(api).get(f"/studio/api{OWN}/caller", headers={"sec-fetch-site": site})

    assert answer.status_code == 403
    assert api.requests == []


def test_a_web_socket_is_refused_whoever_opens_it():
    sent = []

    async def inner(_scope, _receive, _send):
        raise AssertionError("no application may see it")

    async def send(message):
        sent.append(message)

    anyio.run(StudioGate(inner), {"type": "websocket", "path": "/studio", "headers": []}, None, send)

    assert [message["type"] for message in sent] == ["websocket.close"]


def test_a_proxy_that_ends_tls_and_passes_the_host_on_is_no_foreigner(visit, api):
    browser = visit(api)

    answer = browser.post("/studio/sign-out", headers={"origin": "https://testserver"})

    assert answer.status_code == 303


def test_over_https_the_cookie_is_for_https_alone(visit, api):
    browser = visit(api, signed_in=False)

    answer = browser.post("https://testserver/studio/sign-in", data={"key": "tf_right-key"})

    assert "; Secure" in answer.headers["set-cookie"]
    assert answer.headers["set-cookie"].startswith("tuningfork_session_443=")
