"""A second dialect beside Gemini's, each in its own form: mounting it touches nothing in `api/`."""

import json
import re
from pathlib import Path

import pytest

import tuningfork.api
from caller import caller_of, turn
from toy_dialect import Toy, ToyForm, toy_dialect
from tuningfork.api.google.form import GoogleForm
from tuningfork.api.mounts import Mounts
from tuningfork.dialect.form import Dialect
from tuningfork.wire.gemini.errors import GEMINI_ERRORS

ROOM = Path(tuningfork.api.__file__).parent
CORE = sorted(ROOM.glob("*.py"))
FORMS = sorted(set(ROOM.glob("*/*.py")) - set((ROOM / "oauth").glob("*.py")))
"""OAuth's routes belong to no dialect: they are served by the core's own means."""
USED_BY_OTHERS = ("tuningfork.api.google.",)
"""What other APIs of the same company share."""
STREAM = "/v1beta/models/echo-001:streamGenerateContent?alt=sse"


@pytest.fixture
def caller(workshop):
    return caller_of(workshop, further=(toy_dialect(Toy()),))


def bearing(caller, **headers):
    return {"headers": {"authorization": f"Bearer {caller.key}", **headers}, "key": ""}


def test_each_dialect_finds_its_credential_where_its_own_clients_send_it(caller):
    assert caller.post("/toy/v1/chat", {"text": "a"}, **bearing(caller)).json() == {"text": "a"}
    assert caller.post("/toy/v1/chat", {"text": "a"}).status_code == 401
    assert caller.get("/v1beta/tunedModels").status_code == 200


def test_each_dialect_tells_errors_in_its_own_body(caller):
    toys = caller.post("/toy/v1/chat", {"text": "a"}, key="")
    geminis = caller.post("/v1beta/tunedModels", {}, key="")

    assert list(toys.json()["error"]) == ["message", "type", "param", "code"]
    assert toys.json()["error"]["type"] == "CallerUnknown"
    assert (geminis.status_code, geminis.json()["error"]["status"]) == (403, "PERMISSION_DENIED")


def test_a_path_of_no_dialect_is_answered_in_the_form_that_was_chosen_for_it_whatever_their_order():
    google, toy = (
        Dialect(prefixes={f"/{name}": "v1"}, bindings=(), form=form)
        for name, form in (("google", GoogleForm(GEMINI_ERRORS)), ("toy", ToyForm()))
    )
    for dialects in ([google, toy], [toy, google]):
        mounts = Mounts(dialects, default_form=toy.form)
        assert mounts.form_of("/elsewhere") is toy.form
        assert [mounts.form_of(f"/{name}/x") for name in ("google", "toy")] == [google.form, toy.form]


def test_each_dialect_streams_in_its_own_events(caller):
    toys = caller.post("/toy/v1/chat", {"text": "a b", "stream": True}, **bearing(caller))
    geminis = caller.post(STREAM, {"contents": [turn("a b")]})

    assert toys.content == b'data: {"word": "a"}\n\ndata: {"word": "b"}\n\ndata: [DONE]\n\n'
    assert geminis.content.endswith(b"}\r\n\r\n")
    assert b"[DONE]" not in geminis.content


def test_a_fault_in_a_stream_is_told_in_the_form_of_its_dialect(caller):
    answer = caller.post("/toy/v1/chat", {"text": "a break b", "stream": True}, **bearing(caller))

    first, second, last, rest = answer.text.split("\n\n")
    assert json.loads(first.removeprefix("data: ")) == {"word": "a"}
    assert json.loads(second.removeprefix("data: "))["error"]["message"] == "The word is not allowed."
    assert (last, rest) == ("data: [DONE]", "")


def test_what_no_method_answers_is_told_in_the_form_of_the_prefix(caller):
    missing = caller.get("/toy/v1/nothing")
    wrong_verb = caller.get("/toy/v1/chat")

    assert missing.json()["error"]["type"] == "NotFound"
    assert (wrong_verb.status_code, wrong_verb.headers["allow"]) == (405, "POST")
    assert wrong_verb.json()["error"]["type"] == "Unimplemented"
    assert caller.get("/nothing").json()["error"]["status"] == "NOT_FOUND"
    assert caller.get("/toy/v10/nothing").json()["error"]["status"] == "NOT_FOUND"


def test_what_nobody_foresaw_is_told_in_the_form_of_the_prefix(caller):
    answer = caller.post("/toy/v1/fail", **bearing(caller))

    assert answer.json()["error"]["type"] == "InternalError"
    assert "secret" not in answer.text


def test_the_limit_of_a_body_is_that_of_the_form(caller):
    large = {"text": "a" * 2_000}

    assert caller.post("/toy/v1/chat", large, **bearing(caller)).status_code == 413
    assert caller.post("/v1beta/models/echo-001:countTokens", {"contents": [turn("a" * 2_000)]}).status_code == 200


def test_what_a_verb_means_is_for_the_form_to_say(caller):
    override = {"x-http-method-override": "GET"}

    assert caller.post("/toy/v1/chat", {"text": "a"}, **bearing(caller, **override)).status_code == 200
    assert caller.post("/v1beta/models", headers=override).status_code == 200


def test_both_are_counted_by_the_names_of_their_methods(caller):
    caller.post("/toy/v1/chat", {"text": "a"}, **bearing(caller))
    caller.get("/v1beta/models")

    counted = caller.get("/metrics").text

    assert 'tuningfork_http_request_seconds_count{endpoint="chat",status="200"} 1.0' in counted
    assert 'tuningfork_http_request_seconds_count{endpoint="list_models",status="200"} 1.0' in counted


@pytest.mark.parametrize("path", CORE, ids=lambda path: path.name)
def test_the_core_of_the_api_room_knows_no_api(path):
    text = path.read_text(encoding="utf-8")

    assert re.findall(r"goog|gemini|vertex|openai|tuningfork\.wire", text, re.IGNORECASE) == []


@pytest.mark.parametrize("path", FORMS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_a_form_needs_neither_the_core_of_the_api_room_nor_its_library(path):
    text = path.read_text(encoding="utf-8")

    imported = re.findall(r"^(?:from|import) (tuningfork\.api[\w.]*|starlette|fastapi)", text, re.MULTILINE)
    own = (f"tuningfork.api.{path.parent.name}.", *USED_BY_OTHERS)
    assert [name for name in imported if not name.startswith(own)] == []
