"""Web pages as callers: none by default, those of the named origins with everything, and how the others stay out."""

import pytest

from caller import caller_of, turn

TUNED = "/v1beta/tunedModels"
PAGE = "https://app.example"
ASK = {"contents": [turn("one two")]}
SENT_BY_SDKS = (
    "authorization,content-type,x-goog-api-client,x-goog-api-key,x-goog-user-project,x-server-timeout,"
    "x-http-method-override,x-stainless-os"
)
HERE = {"host": "localhost:8000"}


def preflight(origin=PAGE, method="POST", headers=SENT_BY_SDKS):
    return {
        "origin": origin,
        "access-control-request-method": method,
        "access-control-request-headers": headers,
    }


@pytest.fixture
def open_to_page(workshop):
    return caller_of(workshop, origins=(PAGE, "http://localhost:3000"))


@pytest.fixture
def no_auth(workshop):
    return caller_of(workshop, require_credential=False)


def cross_origin_headers(answer):
    return {name for name in answer.headers if name.startswith("access-control-")}


def test_without_the_setting_no_page_may_call(caller):
    asked = caller.call("OPTIONS", TUNED, headers=preflight(), key="")
    answer = caller.get(TUNED, headers={"origin": PAGE})

    assert asked.status_code == 405
    assert asked.json()["error"]["status"] == "UNIMPLEMENTED"
    assert answer.status_code == 200
    assert not cross_origin_headers(asked) | cross_origin_headers(answer)


@pytest.mark.parametrize(
    "path",
    [
        "/v1/models",
        TUNED,
        f"{TUNED}/x",
        f"{TUNED}/x:generateContent",
        f"{TUNED}/x:streamGenerateContent?alt=sse",
        f"{TUNED}/x/permissions/y",
        f"{TUNED}/x/operations/y:cancel",
        "/tuningfork/v1/accessTokens",
        "/healthz",
        "/no/such/route",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST", "PATCH", "DELETE"])
def test_a_browser_that_asks_first_is_answered_on_every_route(open_to_page, path, method):
    answer = open_to_page.call("OPTIONS", path, headers=preflight(method=method), key="")

    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == PAGE
    assert method in answer.headers["access-control-allow-methods"].split(", ")
    assert answer.headers["access-control-allow-headers"] == SENT_BY_SDKS
    assert "Origin" in answer.headers["vary"]
    assert "access-control-allow-credentials" not in answer.headers


def test_every_kind_of_answer_can_be_read_by_the_page(open_to_page):
    page = {"origin": PAGE}
    answers = [
        open_to_page.get(TUNED, headers=page),
        open_to_page.get(f"{TUNED}/nobody", headers=page),
        open_to_page.get("/no/such/route", headers=page),
        open_to_page.get(TUNED, headers=page, key=""),
        open_to_page.get(TUNED, headers=page, key="nonsense"),
        open_to_page.post(TUNED, b"{", headers=page),
        open_to_page.call("PUT", TUNED, {}, headers=page),
        open_to_page.post("/v1beta/models/echo-001:generateContent", ASK, headers=page),
        open_to_page.post("/v1beta/models/echo-001:streamGenerateContent?alt=sse", ASK, headers=page),
    ]

    assert [answer.status_code for answer in answers] == [200, 404, 404, 403, 400, 400, 405, 200, 200]
    assert {answer.headers["access-control-allow-origin"] for answer in answers} == {PAGE}
    assert {answer.headers["vary"] for answer in answers} == {"Origin"}
    assert {answer.headers["access-control-expose-headers"] for answer in answers} == {
        "ETag, Retry-After, WWW-Authenticate, X-Request-Id"
    }


def test_a_fault_of_ours_can_be_read_by_the_page_too(workshop):
    def broken():
        raise RuntimeError("deliberately")

    caller = caller_of(workshop, origins=(PAGE,), healthy=broken)

    answer = caller.get("/healthz", headers={"origin": PAGE})

    assert answer.status_code == 500
    assert answer.headers["access-control-allow-origin"] == PAGE


@pytest.mark.parametrize("origin", ["https://evil.example", "https://app.example.evil", "http://app.example", "null"])
def test_pages_of_other_origins_may_not(open_to_page, origin):
    asked = open_to_page.call("OPTIONS", TUNED, headers=preflight(origin), key="")
    answer = open_to_page.get(TUNED, headers={"origin": origin})

    assert asked.status_code == 403
    assert asked.json()["error"]["status"] == "PERMISSION_DENIED"
    assert "TUNINGFORK_CORS_ORIGINS" in asked.json()["error"]["message"]
    assert "localhost:3000" not in asked.text
    assert "access-control-allow-origin" not in asked.headers
    assert "access-control-allow-origin" not in answer.headers
    assert answer.headers["vary"] == "Origin"


def test_a_verb_that_nobody_serves_is_not_allowed(open_to_page):
    assert open_to_page.call("OPTIONS", TUNED, headers=preflight(method="CONNECT"), key="").status_code == 403


def test_an_answer_to_no_page_says_that_pages_get_another(open_to_page):
    assert open_to_page.get(TUNED).headers["vary"] == "Origin"


def test_every_origin_may_be_let_in(workshop):
    caller = caller_of(workshop, origins=("*",))

    assert caller.call("OPTIONS", TUNED, headers=preflight("https://any.example"), key="").status_code == 200
    assert caller.get(TUNED, headers={"origin": "https://any.example"}).headers["access-control-allow-origin"] == "*"


@pytest.mark.parametrize(
    "host",
    ["localhost", "localhost:8000", "LOCALHOST:1", "127.0.0.1:8000", "127.9.9.9", "[::1]:8000", "[::1]", "localhost."],
)
def test_without_credentials_this_machine_is_called_by_its_own_names(no_auth, host):
    assert no_auth.get(TUNED, headers={"host": host}, key="").status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example:8000",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "192.168.1.7:8000",
        "0.0.0.0:8000",
        "[::]:8000",
        "[::ffff:10.0.0.1]:8000",
        "evil.example@localhost",
        "localhost:evil.example",
        "127.0.0.1:8000@evil.example",
        "[::1].evil.example",
        "[::1",
        "[localhost]",
        "",
    ],
)
def test_without_credentials_a_name_that_was_made_to_lead_here_does_not(no_auth, host):
    answer = no_auth.get(TUNED, headers={"host": host}, key="")

    assert answer.status_code == 403
    assert "Call it as localhost or 127.0.0.1." in answer.json()["error"]["message"]


@pytest.mark.parametrize("origin", ["https://evil.example", "http://localhost:3000", "http://localhost", "null", ""])
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
def test_without_credentials_no_foreign_page_comes_in(no_auth, origin, method):
    answer = no_auth.call(method, TUNED, headers={**HERE, "origin": origin}, key="")

    assert answer.status_code == 403
    assert "TUNINGFORK_CORS_ORIGINS" in answer.json()["error"]["message"]


def test_without_credentials_a_page_of_the_server_itself_may_call(no_auth):
    assert no_auth.get(TUNED, headers={**HERE, "origin": "http://localhost:8000"}, key="").status_code == 200


def test_without_credentials_a_page_that_is_named_may_call(workshop):
    caller = caller_of(workshop, require_credential=False, origins=(PAGE,))
    named, other = {**HERE, "origin": PAGE}, {**HERE, "origin": "https://evil.example"}

    assert caller.get(TUNED, headers=named, key="").headers["access-control-allow-origin"] == PAGE
    assert caller.call("OPTIONS", TUNED, headers={**HERE, **preflight()}, key="").status_code == 200
    assert caller.get(TUNED, headers=other, key="").status_code == 403


@pytest.mark.parametrize("path", ["/healthz", "/metrics"])
def test_without_credentials_pages_may_not_watch_either(no_auth, path):
    assert no_auth.get(path, headers={**HERE, "origin": "https://evil.example"}, key="").status_code == 403
