"""Routing: every version, every spelling of a path, and verbs in disguise."""

import pytest

from caller import turn

ASK = {"contents": [turn("hello")]}


@pytest.mark.parametrize("colon", [":", "%3A", "%3a"])
@pytest.mark.parametrize("method", ["generateContent", "countTokens"])
def test_the_colon_of_a_custom_method_may_be_percent_encoded(caller, colon, method):
    assert caller.post(f"/v1beta/models/echo-001{colon}{method}", ASK).status_code == 200


@pytest.mark.parametrize(
    "path", ["/v1beta/models/a/b/", "/v1beta/models/a%2Fb", "/V1BETA/models", "/v1beta/tunedModels/a/b/c"]
)
def test_other_paths_are_not_found_in_json(caller, path):
    answer = caller.get(path)

    assert answer.status_code == 404
    assert answer.json()["error"]["message"].startswith("GET /")


def test_a_wrong_verb_is_told_which_ones_would_do(caller):
    answer = caller.call("PUT", "/v1beta/tunedModels", {})

    assert answer.status_code == 405
    assert answer.headers["allow"] == "GET, HEAD, POST"
    assert answer.json()["error"]["message"] == "PUT is not served at /v1beta/tunedModels; use GET or HEAD or POST."


def test_a_post_may_stand_for_another_verb(caller):
    name = caller.create()

    for verb in ("GET", "get"):
        assert caller.post(f"/v1beta/{name}", headers={"x-http-method-override": verb}).json()["name"] == name
    assert caller.post(f"/v1beta/{name}", headers={"X-HTTP-Method-Override": "DELETE"}).text == "{}\n"
    assert caller.get(f"/v1beta/{name}").status_code == 404


def test_only_a_post_may(caller):
    name = caller.create()

    caller.get(f"/v1beta/{name}", headers={"x-http-method-override": "DELETE"})

    assert caller.get(f"/v1beta/{name}").status_code == 200


def test_there_are_no_pages_of_the_framework(caller):
    assert caller.get("/redoc").status_code == 404
    for path in ("/docs", "/openapi.json"):
        assert "swagger" not in caller.get(path).text.lower()
