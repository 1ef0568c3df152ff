"""The pages' scripts reach the API's methods that pages need, with the session's credential, and no others."""

import pytest

from studio_stand_in import GEMINI, OWN
from tuningfork.studio.frame.pass_through import is_allowed


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", f"{OWN}/tunedModels/roman/series"),
        ("GET", f"{OWN}/tunedModels"),
        ("POST", f"{OWN}/datasets"),
        ("POST", f"{OWN}/datasets/d-1:check"),
        ("PATCH", f"{OWN}/datasets/d-1/rows/16"),
        ("POST", f"{GEMINI}/models/smollm2:streamGenerateContent"),
        ("POST", f"{GEMINI}/tunedModels/roman:generateContent"),
        ("DELETE", f"{GEMINI}/tunedModels/roman/permissions/7"),
    ],
)
def test_what_pages_need_is_handed_on(method, path):
    assert is_allowed(method, path)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", f"{OWN}/sessions"),
        ("GET", f"{OWN}/sessions"),
        ("POST", f"{OWN}/accessTokens"),
        ("POST", f"{OWN}/refreshTokens"),
        ("POST", f"{OWN}/serviceAccounts"),
        ("GET", "/metrics"),
        ("POST", "/token"),
        ("GET", f"{GEMINI}/tunedModels/../../metrics"),
        ("GET", f"{OWN}/tunedModels/roman/job/../../sessions"),
        ("PUT", f"{OWN}/datasets/d-1"),
        ("DELETE", f"{OWN}/tunedModels"),
        ("GET", f"{OWN}/datasets/..%2Fsessions"),
        ("POST", f"{GEMINI}/tunedModels/roman:transferOwnership"),
        ("GET", f"{OWN}/tunedModels/roman/job\n"),
    ],
)
def test_everything_else_is_not(method, path):
    assert not is_allowed(method, path)


def test_the_credential_comes_from_the_cookie_and_what_a_script_sends_in_its_place_is_dropped(visit, api):
    browser = visit(api)

    answer = browser.get(
        f"/studio/api{OWN}/tunedModels/roman/series?afterStep=3",
        headers={"authorization": "Bearer another", "x-goog-api-key": "another", "x-http-method-override": "DELETE"},
    )

    (request,) = [each for _, _, _, each in api.requests]
    assert answer.json()["nextAfterStep"] == 2
    assert request.headers["authorization"] == "Bearer tfs_0"
    assert request.url.params["afterStep"] == "3"
    assert {"x-goog-api-key", "cookie", "x-http-method-override"} & request.headers.keys() == set()


def test_without_a_session_the_api_itself_refuses_and_the_script_knows_that_it_is_signed_out(visit, api):
    answer = visit(api, signed_in=False).get(f"/studio/api{OWN}/tunedModels/roman/job")

    assert (answer.status_code, answer.json()["error"]["status"]) == (401, "PERMISSION_DENIED")


def test_what_is_not_handed_on_is_refused_in_the_apis_own_form(visit, api):
    browser = visit(api)

    answer = browser.post(f"/studio/api{OWN}/accessTokens", json={})

    assert (answer.status_code, answer.json()["error"]["status"]) == (403, "PERMISSION_DENIED")
    assert api.requests == []


def test_a_server_that_does_not_answer_is_told_as_such(visit, api):
    browser = visit(api)
    api.is_down = True

    answer = browser.get(f"/studio/api{OWN}/caller")

    assert (answer.status_code, answer.json()["error"]["status"]) == (502, "UNAVAILABLE")


def test_a_body_that_is_larger_than_any_is_refused_before_it_is_sent(visit, api):
    browser = visit(api)

    answer = browser.post(f"/studio/api{OWN}/datasets", content=b"", headers={"content-length": str(2**30)})

    assert answer.status_code == 413
    assert api.requests == []
