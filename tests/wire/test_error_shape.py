"""The one error shape, proven for every way to fail that a caller can find.

    {"error": {"code": <HTTP status>, "message": "...", "status": "<name of the google.rpc code>", "details": [...]}}

`details` is there only when there is something to say; each detail begins with its `@type`.
"""

import gzip
import json

import pytest

from caller import TUTORIAL_BODY, turn
from tuningfork.domain.errors import Code
from tuningfork.store.artifacts import Artifacts
from tuningfork.wire.google.errors import HTTP_STATUS
from tuningfork.wire.google.proto_json.text import MAX_PAYLOAD_BYTES

BASE = "/v1beta/models/echo-001"
TUNED = "/v1beta/tunedModels"
ASK = {"contents": [turn("hello")]}
TASK = TUTORIAL_BODY["tuningTask"]


def fault_of(config=None, **members):
    def provoke(caller):
        body = {**ASK, **members, **({"generationConfig": config} if config else {})}
        return caller.post(f"{BASE}:generateContent", body)

    return provoke


def creation(changes=None, query=""):
    return lambda caller: caller.post(f"{TUNED}{query}", {**TUTORIAL_BODY, **(changes or {})})


def tuned_on(caller, source):
    return creation({"baseModel": None, "tunedModelSource": {"tunedModel": source}})(caller)


def raw(body, **headers):
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda caller: caller.post(TUNED, body, headers=sent)


def get(path, **options):
    return lambda caller: caller.get(path, **options)


def dead_generator(caller):
    caller.workshop.executor.close()
    return caller.post(f"{BASE}:generateContent", ASK)


def bug(caller):
    caller.workshop.executor.break_generation(0, ZeroDivisionError("the secret inside of the server"))
    return caller.post(f"{BASE}:generateContent", ASK)


def full_queue(caller):
    caller.workshop.tuning._queue._max_jobs = 0
    return caller.post(TUNED, TUTORIAL_BODY)


class OnAFullDisk(Artifacts):
    """Examples are written to a file that takes nothing."""

    def staged_dataset(self, examples, name=""):
        self.store.root.joinpath("datasets", "full.aside").symlink_to("/dev/full")
        return super().staged_dataset(examples, name or "full")


def full_disk(caller):
    caller.workshop.tuning._artifacts = OnAFullDisk(caller.workshop.artifacts._root)
    return caller.post(TUNED, TUTORIAL_BODY)


def creating(caller, suffix, method="POST", body=None):
    return caller.call(method, f"/v1beta/{caller.create()}{suffix}", body)


FAILURES = {
    # who is calling
    "no credential": (403, get(TUNED, key="")),
    "bad key": (400, get(TUNED, key="nonsense")),
    "bad key in the query": (400, get(f"{TUNED}?key=nonsense", key="")),
    "bad token": (401, get(TUNED, key="", headers={"authorization": "Bearer nonsense"})),
    "bad token in the query": (401, get(f"{TUNED}?access_token=nonsense", key="")),
    "another scheme": (401, get(TUNED, key="", headers={"authorization": "Basic bWU6bWU="})),
    "somebody else's model": (403, lambda caller: caller.get(f"/v1beta/{caller.create()}", key=caller.bobs_key)),
    "deleting somebody else's model": (
        403,
        lambda caller: caller.call("DELETE", f"/v1beta/{caller.create()}", key=caller.bobs_key),
    ),
    # routes
    "no such route": (404, get("/v1beta/nothing")),
    "a POST to the root": (405, lambda caller: caller.post("/", {})),
    "no such version": (404, get("/v1beta9/models")),
    "a path below a list": (404, get("/v1beta/models/a/b")),
    "no such custom method": (404, lambda caller: caller.post(f"{BASE}:embedContent", ASK)),
    "wrong verb": (405, lambda caller: caller.call("PUT", f"{TUNED}/abc", {})),
    "wrong verb on a custom method": (405, get(f"{BASE}:generateContent")),
    "an overridden verb that is wrong": (
        405,
        lambda caller: caller.post(f"{TUNED}/abc", headers={"x-http-method-override": "PUT"}),
    ),
    # bodies
    "malformed JSON": (400, raw(b'{"a" 1}')),
    "half a body": (400, raw(b'{"displayName": "x')),
    "not UTF-8": (400, raw(b'{"displayName": "\xe9"}')),
    "half a surrogate pair": (400, raw(b'{"displayName": "\\ud800"}')),
    "too deep": (400, raw(b"[" * 500)),
    "a list": (400, raw(b"[]")),
    "a number": (400, raw(b"5")),
    "too large": (400, raw(b" " * (MAX_PAYLOAD_BYTES + 1))),
    "too large when unpacked": (400, raw(gzip.compress(b" " * (MAX_PAYLOAD_BYTES + 1)), content_encoding="gzip")),
    "not gzip": (400, raw(b"{}", content_encoding="gzip")),
    "half a gzip": (400, raw(gzip.compress(b'{"a": 1}' * 100)[:-12], content_encoding="gzip")),
    "unknown encoding": (400, raw(b"{}", content_encoding="br")),
    # parameters
    "unknown parameter": (400, get(f"{TUNED}?foo=1")),
    "unknown parameter of a method without any": (400, get(f"{BASE}?foo=1")),
    "parameter of the wrong type": (400, get(f"{TUNED}?pageSize=abc")),
    "negative page": (400, get(f"{TUNED}?pageSize=-1")),
    "negative page of models": (400, get("/v1beta/models?pageSize=-1")),
    "bad page token": (400, get(f"{TUNED}?pageToken=nonsense")),
    "bad page token of models": (400, get("/v1beta/models?pageToken=nonsense")),
    "bad filter": (400, get(f"{TUNED}?filter=colour:red")),
    "unknown alt": (400, get(f"{TUNED}?alt=proto")),
    "sse without a stream": (400, get(f"{TUNED}?alt=sse")),
    "malformed field mask": (400, get(f"{TUNED}?fields=a(")),
    "field mask for nothing": (400, get(f"{TUNED}?fields=foo")),
    # tuning requests
    "unknown field": (400, creation({"foo": 1})),
    "wrong type": (400, creation({"temperature": "warm"})),
    "no base model": (400, creation({"baseModel": ""})),
    "unknown base model": (404, creation({"baseModel": "models/abc"})),
    "no source": (404, creation({"baseModel": None, "tunedModelSource": {"tunedModel": "tunedModels/x"}})),
    "a source without a name": (400, creation({"baseModel": None, "tunedModelSource": {}})),
    "two origins": (400, creation({"tunedModelSource": {"tunedModel": "tunedModels/x"}})),
    "a source that is no tuned model": (
        400,
        creation({"baseModel": None, "tunedModelSource": {"tunedModel": "models/echo-001"}}),
    ),
    "a source that is not ready": (400, lambda caller: tuned_on(caller, caller.create())),
    "no training data": (400, creation({"tuningTask": {}})),
    "an example without input": (
        400,
        creation({"tuningTask": {"trainingData": {"examples": {"examples": [{"output": "x"}]}}}}),
    ),
    "an example without output": (
        400,
        creation({"tuningTask": {"trainingData": {"examples": {"examples": [{"textInput": "x"}]}}}}),
    ),
    "bad hyperparameters": (400, creation({"tuningTask": {**TASK, "hyperparameters": {"epochCount": 0}}})),
    "a rate that is no number": (400, creation({"tuningTask": {**TASK, "hyperparameters": {"learningRate": "NaN"}}})),
    "too many steps": (
        400,
        creation({"tuningTask": {**TASK, "hyperparameters": {"epochCount": 1000, "batchSize": 1025}}}),
    ),
    "long display name": (400, creation({"displayName": "x" * 41})),
    "bad id": (400, creation(query="?tunedModelId=Bad")),
    "full queue": (429, full_queue),
    "full disk": (429, full_disk),
    # models and operations
    "missing model": (404, get(f"{TUNED}/abc")),
    "missing model to delete": (404, lambda caller: caller.call("DELETE", f"{TUNED}/abc")),
    "missing model to cancel": (404, lambda caller: caller.post(f"{TUNED}/abc:cancel")),
    "missing operation": (404, lambda caller: creating(caller, "/operations/abc", "GET")),
    "missing operation to cancel": (404, lambda caller: creating(caller, "/operations/abc:cancel")),
    "a body that is no cancel request": (400, lambda caller: creating(caller, ":cancel", body={"why": "not"})),
    "missing base model": (404, get("/v1beta/models/abc")),
    "adapter of a missing model": (404, get("/tuningfork/v1/tunedModels/abc/adapter")),
    "adapter that is not there yet": (
        400,
        lambda caller: caller.get(f"/tuningfork/v1/{caller.create()}/adapter"),
    ),
    "adapter without a key": (403, get("/tuningfork/v1/tunedModels/abc/adapter", key="")),
    # generation requests
    "no contents": (400, lambda caller: caller.post(f"{BASE}:generateContent", {})),
    "no parts": (400, fault_of(contents=[{"role": "user"}])),
    "an empty part": (400, fault_of(contents=[{"role": "user", "parts": [{}]}])),
    "a picture": (400, fault_of(contents=[{"parts": [{"inlineData": {"mimeType": "image/png", "data": "aGk="}}]}])),
    "bad role": (400, fault_of(contents=[turn("x", "assistant")])),
    "no role among several": (400, fault_of(contents=[{"parts": [{"text": "x"}]}, turn("y")])),
    "the model has the last word": (400, fault_of(contents=[turn("x"), turn("y", "model")])),
    "tools": (400, fault_of(tools=[{"codeExecution": {}}])),
    "cached content": (400, fault_of(cachedContent="cachedContents/x")),
    "JSON mode where there is none": (
        400,
        lambda caller: caller.post(
            "/v1beta/models/gemini-1.0-pro-001:generateContent",
            {**ASK, "generationConfig": {"responseMimeType": "application/json"}},
        ),
    ),
    "an unknown type of answer": (400, fault_of({"responseMimeType": "application/xml"})),
    "a choice of nothing": (400, fault_of({"responseMimeType": "text/x.enum"})),
    "a schema without its type of answer": (400, fault_of({"responseSchema": {"type": "STRING"}})),
    "a schema that is none": (
        400,
        fault_of({"responseMimeType": "application/json", "responseSchema": {"type": "ARRAY"}}),
    ),
    "a heavy penalty": (400, fault_of({"presencePenalty": 2.5})),
    "log probabilities that are not wanted": (400, fault_of({"logprobs": 3})),
    "too many log probabilities": (400, fault_of({"responseLogprobs": True, "logprobs": 21})),
    "text of the PaLM generation from a Gemini model": (
        404,
        lambda caller: caller.post("/v1beta/models/gemini-1.0-pro-001:generateText", {"prompt": {"text": "x"}}),
    ),
    "pictures wanted": (400, fault_of({"responseModalities": ["IMAGE"]})),
    "hot": (400, fault_of({"temperature": 9})),
    "no number": (400, fault_of({"temperature": "NaN"})),
    "many candidates": (400, fault_of({"candidateCount": 99})),
    "many stop sequences": (400, fault_of({"stopSequences": ["a", "b", "c", "d", "e", "f"]})),
    "missing model to ask": (404, lambda caller: caller.post(f"{TUNED}/abc:generateContent", ASK)),
    "missing base to ask": (404, lambda caller: caller.post("/v1beta/models/abc:generateContent", ASK)),
    "model that is still made": (400, lambda caller: creating(caller, ":generateContent", body=ASK)),
    "model that is still made, streaming": (
        400,
        lambda caller: creating(caller, ":streamGenerateContent?alt=sse", body=ASK),
    ),
    "too long for the context": (400, fault_of(contents=[turn("x " * 16_384)])),
    "nothing to count": (400, lambda caller: caller.post(f"{BASE}:countTokens", {})),
    "two things to count": (
        400,
        lambda caller: caller.post(
            f"{BASE}:countTokens", {**ASK, "generateContentRequest": {"model": "models/echo-001", **ASK}}
        ),
    ),
    "counting for nobody": (
        400,
        lambda caller: caller.post(f"{BASE}:countTokens", {"generateContentRequest": ASK}),
    ),
    # our side
    "dead generator": (503, dead_generator),
    "our bug": (500, bug),
}

STATUS_OF = {
    400: {"INVALID_ARGUMENT", "FAILED_PRECONDITION"},
    401: {"UNAUTHENTICATED"},
    403: {"PERMISSION_DENIED"},
    404: {"NOT_FOUND"},
    405: {"UNIMPLEMENTED"},
    429: {"RESOURCE_EXHAUSTED"},
    500: {"INTERNAL"},
    503: {"UNAVAILABLE"},
}


@pytest.mark.parametrize("failure", sorted(FAILURES))
def test_every_failure_has_the_one_shape(caller, failure):
    status, provoke = FAILURES[failure]

    answer = provoke(caller)

    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json; charset=UTF-8"
    assert answer.text == json.dumps(answer.json(), indent=2, ensure_ascii=False) + "\n"
    assert_shape(answer.json(), status)


def assert_shape(body, status):
    assert set(body) == {"error"}
    error = body["error"]
    assert list(error)[:3] == ["code", "message", "status"]
    assert set(error) <= {"code", "message", "status", "details"}
    assert error["code"] == status
    assert error["message"].strip()
    assert error["status"] in STATUS_OF[status]
    if "details" in error:
        assert error["details"]
        for detail in error["details"]:
            assert next(iter(detail)) == "@type"
            assert detail["@type"].startswith("type.googleapis.com/google.rpc.")
            for violation in detail.get("fieldViolations", ()):
                assert violation["description"].strip()
                assert set(violation) <= {"field", "description"}


def test_our_bugs_keep_their_secrets_and_leave_a_trace(caller, caplog):
    answer = bug(caller)

    assert "secret" not in answer.text
    assert "ZeroDivisionError" not in answer.text
    [record] = [record for record in caplog.records if record.exc_info]
    assert record.exc_info[0] is ZeroDivisionError


def test_every_code_has_an_http_status():
    assert set(HTTP_STATUS) == set(Code)
