"""The boundary: nothing leaves the application as an exception."""

import asyncio
import json

import pytest
from starlette.requests import Request

from tuningfork.api.errors import ErrorBoundary
from tuningfork.api.google.errors import error_answer, error_json
from tuningfork.api.google.form import GoogleForm
from tuningfork.api.mounts import Mounts, head_of
from tuningfork.dialect.form import Dialect
from tuningfork.domain.errors import InternalError, InvalidArgument, NotFound
from tuningfork.wire.gemini.errors import GEMINI_ERRORS

FORM = GoogleForm(GEMINI_ERRORS)
MOUNTS = Mounts([Dialect(prefixes={"/v1": "v1"}, bindings=(), form=FORM)], default_form=FORM)
REQUEST = Request({"type": "http", "method": "GET", "path": "/", "headers": [], "query_string": b""})


def run(app):
    sent = []

    async def send(message):
        sent.append(message)

    asyncio.run(ErrorBoundary(app, MOUNTS)(dict(REQUEST.scope), None, send))
    return sent


async def failing(_scope, _receive, _send):
    raise ZeroDivisionError("secret")


async def failing_late(_scope, _receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    raise ZeroDivisionError("secret")


def test_what_nobody_foresaw_is_a_500_in_the_one_shape(caplog):
    start, body = run(failing)

    assert start["status"] == 500
    assert json.loads(body["body"])["error"]["status"] == "INTERNAL"
    assert b"secret" not in body["body"]
    assert caplog.records[0].exc_info[0] is ZeroDivisionError


def test_what_comes_after_the_status_is_left_to_the_server_to_break_off():
    with pytest.raises(ZeroDivisionError):
        run(failing_late)


def test_other_protocols_are_passed_on():
    seen = []

    async def app(scope, _receive, _send):
        seen.append(scope["type"])

    asyncio.run(ErrorBoundary(app, MOUNTS)({"type": "lifespan"}, None, None))

    assert seen == ["lifespan"]


def test_faults_of_ours_are_logged_and_faults_of_callers_are_not(caplog):
    error_json(NotFound("no such thing"), GEMINI_ERRORS)
    error_json(InvalidArgument("wrong"), GEMINI_ERRORS)
    assert caplog.records == []

    shape = error_json(InternalError("The disk is full; nothing was lost."), GEMINI_ERRORS)
    assert shape["error"]["message"].startswith("The disk")
    assert len(caplog.records) == 1


def test_half_a_character_in_a_message_does_not_break_the_answer():
    response = error_answer(NotFound("\ud800"), head_of(REQUEST.scope), GEMINI_ERRORS)

    assert json.loads(response.body)["error"]["message"] == "?"


def test_the_first_error_format_names_the_reason_in_its_own_words():
    asking = Request({**REQUEST.scope, "query_string": b"%24.xgafv=1&prettyPrint=false"})
    response = error_answer(NotFound("no such thing"), head_of(asking.scope), GEMINI_ERRORS)

    assert response.body == (
        b'{"error":{"code":404,"message":"no such thing","errors":[{"message":"no such thing","domain":"global",'
        b'"reason":"notFound"}],"status":"NOT_FOUND"}}\n'
    )
