"""Paths of programs whose base URL is written in another way than the documentation shows."""

import pytest

from tuningfork.api.base_urls import RepairedPaths


@pytest.mark.parametrize(
    ("sent", "base_url"),
    [
        ("//v1beta/models", "ends with a slash"),
        ("/v1beta/models/", "is joined to a path that ends with a slash"),
        ("/v1beta//models", "has the version, and a slash"),
        ("/v1beta/v1beta/models", "has the version that the program adds"),
        ("/v1/v1beta/models", "has another version than the program adds"),
        ("//v1beta//v1/v1beta//models//", "has all of that"),
    ],
)
def test_the_path_that_is_meant_is_served(caller, sent, base_url):
    # With a host in front: a URL that begins with two slashes would name a host.
    assert caller.get(f"http://testserver{sent}").json() == caller.get("/v1beta/models").json(), base_url


def test_a_doubled_version_answers_in_the_version_that_the_program_wrote(caller):
    name = caller.post("/v1beta/tunedModels", {"baseModel": "models/echo-001", "tuningTask": TASK}).json()["name"]

    assert "v1beta3.CreateTunedModelMetadata" in caller.get(f"/v1/v1beta3/{name}").text
    assert "v1beta.CreateTunedModelMetadata" in caller.get(f"/v1beta3/v1/{name}").text


TASK = {"trainingData": {"examples": {"examples": [{"textInput": "1", "output": "2"}]}}}


@pytest.mark.parametrize("path", ["/v1beta", "/v1beta/", "/v1betax/v1beta/models", "/models/v1beta/x"])
def test_other_paths_stay_what_they_are(caller, path):
    answer = caller.get(f"http://testserver{path}")

    assert answer.status_code == 404


def test_a_name_in_a_path_is_not_taken_for_a_version(caller):
    # A base model may be called like a version.
    meant = RepairedPaths(caller.app, _Prefixes()).meant

    assert meant("/v1beta/models/v1beta") == "/v1beta/models/v1beta"
    assert meant("/v1beta/v1beta") == "/v1beta"


class _Prefixes:
    def prefix_of(self, path):
        return "/v1beta" if path == "/v1beta" or path.startswith("/v1beta/") else None
