"""Every request has an id, and a line in the access log, without any text of the caller but its path."""

import asyncio
import logging
import re

import pytest
from starlette.requests import ClientDisconnect

from caller import OpenCall, caller_of, turn
from tuningfork.api.errors import ErrorBoundary
from tuningfork.api.mounts import Mounts


@pytest.fixture
def access_log(caplog):
    caplog.set_level(logging.INFO, logger="tuningfork.access")
    return lambda: [record for record in caplog.records if record.name == "tuningfork.access"]


def test_an_answer_has_the_id_that_the_caller_gave_or_a_new_one(caller, access_log):
    given = caller.get("/v1beta/models", headers={"x-request-id": "abc-1"})
    made = caller.get("/v1beta/models", headers={"x-request-id": "no good id"})
    refused = caller.get("/nowhere", key="")

    assert given.headers["x-request-id"] == "abc-1"
    assert re.fullmatch("[0-9a-f]{16}", made.headers["x-request-id"])
    assert re.fullmatch("[0-9a-f]{16}", refused.headers["x-request-id"])
    assert [record.status for record in access_log()] == ["200", "200", "404"]


def test_a_request_is_logged_with_its_route_its_size_and_the_id_of_its_key(caller, workshop, access_log):
    name = caller.create_active()
    answer = caller.get(f"/v1beta/{name}?fields=name&key=canary")

    record = access_log()[-1]
    ids = [key.id for key in workshop.access.list_keys()]
    assert (record.verb, record.path, record.status) == ("GET", f"/v1beta/{name}", "200")
    assert record.route == "/v1beta/tunedModels/{tuned_model:id}"
    assert record.bytes == len(answer.content)
    assert record.key in ids
    assert record.milliseconds >= 0
    assert re.fullmatch(
        rf"GET /v1beta/{name} 200 in [0-9.]+ ms, {len(answer.content)} bytes to 127\.0\.0\.1, key {record.key}",
        record.getMessage(),
    )


def test_a_stream_is_logged_at_its_end_with_all_its_bytes(caller, access_log):
    answer = caller.post("/v1beta/models/echo-001:streamGenerateContent?alt=sse", {"contents": [turn("a b")]})

    [record] = access_log()
    assert (record.status, record.bytes) == ("200", len(answer.content))


def test_monitoring_is_not_logged_while_all_is_well(caller, access_log):
    caller.get("/healthz", key="")
    caller.get("/metrics")

    assert access_log() == []


def test_monitoring_is_logged_where_something_is_wrong(workshop, access_log):
    caller_of(workshop, healthy=lambda: "no").get("/healthz", key="")

    assert [(record.levelname, record.status, record.route) for record in access_log()] == [("INFO", "503", "/healthz")]


@pytest.mark.parametrize(
    ("headers", "said"),
    [
        ({"x-goog-api-key": "canary"}, "refused an API key from 127.0.0.1 for"),
        ({"authorization": "Bearer canary"}, "refused an access token from 127.0.0.1 for"),
        ({"authorization": "Basic canary"}, "refused an access token from 127.0.0.1 for"),
    ],
)
@pytest.mark.parametrize("path", ["/v1beta/models", "/metrics"])
def test_a_refused_credential_is_told_without_it(caller, caplog, headers, said, path):
    caller.get(path, key="", headers=headers)

    [record] = [record for record in caplog.records if getattr(record, "action", "") == "key_refused"]
    assert record.levelname == "WARNING"
    assert said in record.getMessage()
    assert "canary" not in str(record.__dict__)


def test_no_credential_at_all_is_no_refused_key(caller, caplog):
    caller.get("/v1beta/models", key="")

    assert [record for record in caplog.records if getattr(record, "action", "") == "key_refused"] == []


@pytest.mark.parametrize(
    ("client", "shown"),
    [
        (("192.0.2.1", 1), "192.0.2.1"),
        (("2001:db8::1", 1), "2001:db8::1"),
        (("canary\n", 0), "unknown"),
        (("", 0), "unknown"),
        (None, "unknown"),
    ],
)
def test_an_address_that_a_proxy_has_passed_on_is_one_or_is_not_shown(caller, access_log, client, shown):
    call = OpenCall.post(caller, "/v1beta/models/echo-001:generateContent", "", {"contents": [turn("a")]})
    call.scope["client"] = client

    asyncio.run(call.run())

    assert [record.remote for record in access_log()] == [shown]


KEY = f"tf_{'Ab-_' * 8}"


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        (f"/v1beta/models/echo-001:generateContent&key={KEY}", "/v1beta/models/echo-001:generateContent"),
        ("/v1beta/models/echo-001:generateContent&key=canary", "/v1beta/models/echo-001:generateContent"),
        (f"/v1beta/models%3Fkey={KEY}", "/v1beta/models"),
        (f"/v1beta/models;key={KEY}", "/v1beta/models;key=tf_..."),
        (f"/v1beta/{KEY}/x", "/v1beta/tf_.../x"),
        ("/a%20200%20in%201%20ms", "/a%20200%20in%201%20ms"),
        ("/%0a%C3%A4%25", "/%0A%C3%A4%25"),
        ("/v1beta/tunedModels/a-1:transferOwnership", "/v1beta/tunedModels/a-1:transferOwnership"),
    ],
)
def test_a_path_is_logged_without_keys_and_queries_and_forges_no_field(caller, access_log, path, shown):
    caller.get(path)

    [record] = access_log()
    assert record.path == shown
    assert record.getMessage().startswith(f"GET {shown} {record.status} in ")


def test_verbs_and_paths_are_cut_in_the_log(caller, access_log):
    caller.call("V" * 1_000, f"/{'p' * 1_000}")

    [record] = access_log()
    assert (record.verb, record.path) == ("V" * 20, f"/{'p' * 199}")
    assert "V" * 21 not in record.getMessage()


def test_a_client_that_leaves_while_it_sends_is_logged_like_any_request(caller, caplog):
    caplog.set_level(logging.INFO, logger="tuningfork.api.errors")
    call = OpenCall.post(caller, f"/v1beta/models/echo-001:generateContent&key={KEY}", "", {"contents": []})
    call.scope["method"] = "V" * 1_000
    mounts = Mounts([], default_form=caller.services.default_form)

    async def raise_disconnect(_scope, _receive, _send):
        raise ClientDisconnect

    asyncio.run(ErrorBoundary(raise_disconnect, mounts)(call.scope, call._receive, None))

    [record] = caplog.records
    shown = f"{'V' * 20} /v1beta/models/echo-001:generateContent: the client left while it was sending"
    assert record.getMessage() == shown
