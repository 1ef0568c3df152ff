"""Every request that unmodified SDKs were recorded sending, answered (tests/data/gemini/client_requests.json).

Names of the recordings (`tunedModels/x`, `operations/y`) are replaced by those of a model that exists here.
"""

import json
import re
from pathlib import Path
from urllib.parse import urlencode

import pytest

RECORDED = json.loads((Path(__file__).parents[1] / "data" / "gemini" / "client_requests.json").read_text("utf-8"))
REQUESTS = RECORDED["requests"]
CLIENTS = sorted({request["client"] for request in REQUESTS})

RECORDED_MODELS = ("number-generator-abc123def456", "x")
RECORDED_OPERATIONS = ("op0123456789", "y")
SERVED_BASE = "models/gemini-1.5-flash-001-tuning"

LOST_ITS_DATA = "* CreateTunedModelRequest.tuned_model.tuning_task.training_data: at least one example is required\n"
INSTRUCTED = "Developer instruction is not enabled for tunedModels/x"


def path_here(path, operation):
    for recorded in RECORDED_MODELS:
        path = path.replace(f"tunedModels/{recorded}", "tunedModels/x")
    for recorded in RECORDED_OPERATIONS:
        path = path.replace(f"operations/{recorded}", f"operations/{operation}")
    # The recorded base without a suffix is not served here; the one with it is.
    return re.sub(r"models/gemini-1\.5-flash(?=:|$)", SERVED_BASE, path)


def body_here(body):
    if body and body.get("baseModel") == "models/m":
        return {**body, "baseModel": SERVED_BASE}
    return body


def expected(request):
    """Status, and the beginning of the message where it is a refusal."""
    body = request["body"] or {}
    if "missing" in request["path"]:
        return 404, "Tuned model tunedModels/missing does not exist."
    is_create = request["method"] == "POST" and request["path"].endswith("/tunedModels")
    if is_create and "trainingData" not in body.get("tuningTask", {}):
        return 400, LOST_ITS_DATA
    if "systemInstruction" in body:
        return 400, INSTRUCTED
    return 200, None


def active_model(caller):
    """The id of the operation that made `tunedModels/x`, which is made (again) if it is not there."""
    answer = caller.get("/v1beta/tunedModels/x")
    if answer.status_code == 404:
        examples = [{"textInput": "55", "output": "56"}]
        body = {"baseModel": SERVED_BASE, "tuningTask": {"trainingData": {"examples": {"examples": examples}}}}
        assert caller.post("/v1beta/tunedModels?tunedModelId=x", body).status_code == 200
        while caller.get("/v1beta/tunedModels/x").json()["state"] == "CREATING":
            # Models that the client made wait before it.
            caller.workshop.advance()
    return caller.operation_of("tunedModels/x").rpartition("/")[2]


@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.replace(" ", "_"))
def test_every_recorded_request_of_a_client_is_answered(caller, client):
    for request in REQUESTS:
        if request["client"] == client:
            assert_answered(caller, request)


def assert_answered(caller, request):
    path = path_here(request["path"], active_model(caller))
    headers = {**request["headers"], "x-goog-api-key": caller.key}

    answer = caller.call(
        request["method"],
        f"{path}?{urlencode(request['query'])}",
        body_here(request["body"]),
        headers=headers,
        key="",
    )

    status, message = expected(request)
    assert answer.status_code == status, (request["call"], answer.text)
    if message:
        assert answer.json()["error"]["message"].startswith(message)
    elif request["query"].get("alt") == "sse":
        assert answer.headers["content-type"] == "text/event-stream"
        assert answer.text.startswith("data: {")
    else:
        assert answer.headers["content-type"] == "application/json; charset=UTF-8"
        assert json.loads(answer.text) is not None


def test_the_recordings_cover_every_route_but_the_one_no_sdk_has():
    called = {(request["method"], shape(request["path"])) for request in REQUESTS}

    assert called == {
        ("GET", "models"),
        ("GET", "models/*"),
        ("POST", "models/*:countTokens"),
        ("GET", "tunedModels"),
        ("POST", "tunedModels"),
        ("GET", "tunedModels/*"),
        ("PATCH", "tunedModels/*"),
        ("DELETE", "tunedModels/*"),
        ("POST", "tunedModels/*:cancel"),
        ("POST", "tunedModels/*:generateContent"),
        ("POST", "tunedModels/*:streamGenerateContent"),
        ("POST", "tunedModels/*:countTokens"),
        ("GET", "tunedModels/*/operations/*"),
        ("POST", "tunedModels/*/operations/*:cancel"),
    }


def shape(path):
    parts = path.split("/")[2:]
    return "/".join(
        part if index % 2 == 0 else "*" + part[part.find(":") :] * (":" in part) for index, part in enumerate(parts)
    )
