"""No key, prompt, example or answer reaches the log, in either format, over HTTP and gRPC, from server and workers."""

import json
import shutil
import signal
import time
from contextlib import suppress

import grpc
import httpx
import pytest
from google.ai import generativelanguage_v1beta as api
from google.api_core.exceptions import GoogleAPICallError, InvalidArgument

from grpc_caller import calling
from live_server import LiveServer, free_port
from patience import PATIENCE_SECONDS, wait_until

pytestmark = pytest.mark.slow

CANARY = "canary"
MODEL = "models/tuningfork-mini-001"
FOREIGN = "models/foreign"
QUOTING = "{% if 'quote' in messages[0].content %}{{ raise_exception(messages[0].content) }}{% endif %}"
"""Goes before a base's chat template; a text with this word is quoted in an error of its renderer."""


def turns(text):
    return {"contents": [{"role": "user", "parts": [{"text": text}]}]}


def body(count):
    examples = [{"textInput": f"canary-example-{number}", "output": f"canary-output-{number}"} for number in range(4)]
    return {
        "baseModel": MODEL,
        "displayName": "canary-title",
        "tuningTask": {
            "hyperparameters": {"epochCount": count, "batchSize": 4},
            "trainingData": {"examples": {"examples": examples}},
        },
    }


def send_credentials(server):
    with httpx.Client(base_url=server.url, timeout=PATIENCE_SECONDS) as nobody:
        for headers in (
            {"x-goog-api-key": "tf_canary-key"},
            {"authorization": "Bearer canary-token"},
            {"authorization": "Bearer canary.token.jwt"},
            {"authorization": "Basic canary-basic"},
            {"cookie": "canary-cookie", "user-agent": "canary-agent", "x-goog-api-client": "canary-client"},
            {"x-request-id": "canary id", "x-forwarded-for": "canary-address", "origin": "https://canary.example"},
        ):
            assert nobody.get("/v1beta/models?key=&canary-query=1", headers=headers).status_code in (400, 401, 403)
        assert nobody.get("/v1beta/models?key=canary-query-key").status_code == 400
        assert nobody.get("/metrics?key=canary-query-key").status_code == 400
        # A `?` that is mistyped or escaped: the key is in the path.
        for path in (f"{MODEL}:generateContent&key=canary-1", f"{MODEL}:generateContent%3Fkey=canary-2"):
            assert nobody.post(f"/v1beta/{path}").status_code == 404
        for path in (f"&key={server.key}", f"%3Fkey={server.key}", f";key={server.key}", f"/{server.key}"):
            nobody.get(f"/v1beta/models{path}")
        assert nobody.post("/v1beta/models", content=b"canary" * 9, params={"key": "canary"}).status_code in (404, 405)


def foreign_base(tiny_llama, directory):
    """A copy of a base whose chat template quotes texts in errors, as an option of the server."""
    copied = shutil.copytree(tiny_llama.location, directory)
    template = copied / "chat_template.jinja"
    template.write_text(QUOTING + template.read_text(encoding="utf-8"), encoding="utf-8")
    return f"{FOREIGN.removeprefix('models/')}={copied}"


def send_texts_to_renderers(client):
    generate = f"/v1beta/{FOREIGN}:generateContent"
    assert client.post(generate, json=turns("canary-prompt")).status_code == 200
    for text in ("canary-quote", "canary-quote " * 5_000):
        assert client.post(generate, json=turns(text)).status_code == 400
        assert client.post(f"/v1beta/{FOREIGN}:countTokens", json=turns(text)).status_code == 400


def send_texts(server, client):
    generate = f"/v1beta/{MODEL}:generateContent"
    assert client.post(generate, json=turns("canary-prompt")).status_code == 200
    assert client.post(f"{generate}?key={server.key}&alt=canary", json=turns("canary-prompt")).status_code == 400
    for broken in (
        b'{"contents": "canary-broken',
        b'{"canary-field": "canary-value"}',
        json.dumps(turns("canary-\ud800")).encode(),
        json.dumps({**turns("canary"), "generationConfig": {"temperature": "canary-number"}}).encode(),
        json.dumps({**turns("canary"), "generationConfig": {"responseSchema": {"type": "CANARY-canary"}}}).encode(),
    ):
        assert client.post(generate, content=broken).status_code == 400
    packed = {"content-encoding": "gzip"}
    assert client.post(generate, content=b"canary-no-gzip", headers=packed).status_code == 400
    with client.stream("POST", f"/v1beta/{MODEL}:streamGenerateContent?alt=sse", json=turns("canary-stream")) as read:
        assert "data:" in read.read().decode()


def send_examples(client):
    """A tuning run that ends, one that is refused, and one whose workers die in the middle of it."""
    name = client.post("/v1beta/tunedModels", json=body(2)).raise_for_status().json()["metadata"]["tunedModel"]
    wait_until(lambda: client.get(f"/v1beta/{name}").json()["state"] == "ACTIVE", seconds=300, what="it is tuned")
    assert client.post(f"/v1beta/{name}:generateContent", json=turns("canary-example-1")).status_code == 200
    wrong = body(2)
    wrong["tuningTask"]["trainingData"]["examples"]["examples"].append({"textInput": "canary-alone"})
    assert client.post("/v1beta/tunedModels", json=wrong).status_code == 400
    parts = (
        b'--b\r\ncontent-disposition: form-data; name="canary-part"; filename="canary-file"\r\n\r\n'
        b'{"canary-example": 1}\r\n--b--\r\n'
    )
    client.post("/v1beta/tunedModels", content=parts, headers={"content-type": "multipart/form-data; boundary=b"})
    return name


def disturb_workers(server, client):
    name = client.post("/v1beta/tunedModels", json=body(1_000)).raise_for_status().json()["metadata"]["tunedModel"]
    steps = f"/v1beta/{name}"
    wait_until(lambda: client.get(steps).json().get("tuningTask", {}).get("snapshots"), seconds=300, what="a step")
    assert server.kill("trainer")
    assert server.kill("generator")
    time.sleep(1)
    client.post(f"/v1beta/{MODEL}:generateContent", json=turns("canary-after"))
    client.delete(f"/v1beta/{name}")


def send_over_grpc(server, port):
    root = (server.data_directory / "tls" / "root.pem").read_bytes()
    asked = api.GenerateContentRequest(
        model=MODEL, contents=[api.Content(parts=[api.Part(text="canary-grpc")])], cached_content="canary"
    )
    plain = api.GenerateContentRequest(model=MODEL, contents=[api.Content(parts=[api.Part(text="canary-grpc")])])
    with (
        calling(port, root, ("x-goog-api-key", "canary-grpc-key"), ("x-canary", "canary")) as stranger,
        pytest.raises(InvalidArgument, match="API key not valid"),
    ):
        stranger.generative.generate_content(plain)
    with calling(port, root, ("x-goog-api-key", server.key), ("x-request-id", "grpc-1")) as caller:
        answer, call = caller.channel.unary_unary(
            "/google.ai.generativelanguage.v1beta.GenerativeService/GenerateContent"
        ).with_call(api.GenerateContentRequest.serialize(plain))
        assert answer
        assert ("x-request-id", "grpc-1") in [(key, value) for key, value in call.trailing_metadata()]
        with pytest.raises(grpc.RpcError):
            caller.raw("/google.ai.generativelanguage.v1beta.GenerativeService/GenerateContent", b"\xffcanary-bytes")
        # Refused or not: it must not be logged.
        with suppress(GoogleAPICallError):
            caller.generative.generate_content(asked)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("form", ["text", "json"])
# The name of the test is in the paths that the log may have.
def test_no_marked_text_is_in_the_log(tmp_path, form, tiny_llama):
    port = free_port()
    foreign = foreign_base(tiny_llama, tmp_path / "foreign")
    server = LiveServer(tmp_path, "--log-format", form, "--grpc-port", str(port), "--base-model", foreign)
    try:
        server.start()
        send_credentials(server)
        with httpx.Client(base_url=server.url, headers=server.headers, timeout=300) as client:
            send_texts(server, client)
            send_texts_to_renderers(client)
            name = send_examples(client)
            disturb_workers(server, client)
        send_over_grpc(server, port)
    finally:
        assert server.stop(signal.SIGTERM) == 0
    log = server.log.read_text(encoding="utf-8")

    # The title that its owner chose is in the model's name, which the log may have.
    shown = log.replace("canary-title", "")
    assert [line for line in shown.splitlines() if CANARY in line.lower()] == []
    assert server.key not in log
    model = name.removeprefix("tunedModels/")
    if form == "json":
        records = [json.loads(line) for line in log.splitlines()]
        started = next(record for record in records if record.get("action") == "started")
        requests = [record for record in records if record.get("action") == "request"]
        assert started["url"] == server.url
        assert {"server", "trainer", "generator"} >= {record["role"] for record in records} >= {"server"}
        assert any(record["path"] == f"/v1beta/{MODEL}:generateContent" for record in requests)
        assert any(record["request"] == "grpc-1" and record["status"] == "OK" for record in requests)
        assert any(record.get("action") == "key_refused" for record in records)
        assert all("job" not in record or record["model"] for record in records if record["role"] == "server")
        assert any(record.get("action") == "job_succeeded" and record["model"] == model for record in records)
    else:
        assert f"succeeded (model {model})" in log
        assert "refused an API key from 127.0.0.1" in log
        assert f"POST /v1beta/{MODEL}:generateContent 200 in" in log
