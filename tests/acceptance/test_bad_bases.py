"""A base model whose files do harm is refused with a sentence, and the other bases go on meanwhile."""

import json
import shutil
import threading
from pathlib import Path

import pytest

from live_server import LiveServer, wait_until

pytestmark = [pytest.mark.acceptance, pytest.mark.slow]

LOOP = "{% for i in range(99999) %}{% for j in range(99999) %}{% set x = j %}{% endfor %}{% endfor %}"
ON_REQUEST = "{% for m in messages %}{% if 'evil' in m.content %}" + LOOP + "{% endif %}{{ m.content }}{% endfor %}"
PAIRS = [{"textInput": str(i), "output": str(i + 1)} for i in range(4)]


def copy_of(directory, tmp_path, name):
    return Path(shutil.copytree(directory, tmp_path / name))


@pytest.fixture
def server(tmp_path, tiny_directories):
    good = tiny_directories["llama"]
    looping, layers, nested, sometimes = (copy_of(good, tmp_path, name) for name in ("l", "m", "n", "o"))
    (looping / "chat_template.jinja").write_text(LOOP)
    (sometimes / "chat_template.jinja").write_text(ON_REQUEST)
    config = json.loads((layers / "config.json").read_text())
    (layers / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 10_000_000}))
    (nested / "config.json").write_text('{"a":' * 100_000)
    named = {"good": good, "looping": looping, "layers": layers, "nested": nested, "sometimes": sometimes}
    options = [option for name, directory in named.items() for option in ("--base-model", f"{name}={directory}")]
    server = LiveServer(tmp_path / "server", *options, variables={"TUNINGFORK_RENDERING_SECONDS": "2"})
    server.start()
    yield server
    server.stop()


def said(text="one"):
    return {"contents": [{"parts": [{"text": text}]}], "generationConfig": {"maxOutputTokens": 4, "temperature": 0}}


def asked(server, name, method="generateContent", text="one"):
    body = said(text) if method == "generateContent" else {"contents": said(text)["contents"]}
    with server.client() as client:
        return client.post(f"/v1beta/models/{name}:{method}", json=body, timeout=400)


def create(server, name):
    body = {
        "baseModel": f"models/{name}",
        "tuningTask": {
            "hyperparameters": {"batchSize": 4, "epochCount": 2},
            "trainingData": {"examples": {"examples": PAIRS}},
        },
    }
    with server.client() as client:
        return client.post("/v1beta/tunedModels", json=body)


def meanwhile(server, work):
    """What `work` returned, and how many answers of the good base came before it did."""
    results, answers = [], 0
    thread = threading.Thread(target=lambda: results.append(work()))
    with server.client() as client:
        thread.start()
        while thread.is_alive():
            answer = client.post("/v1beta/models/good:generateContent", json=said())
            assert answer.status_code == 200
            answers += 1
            thread.join(0.1)
    return results[0], answers


@pytest.mark.parametrize("name", ["looping", "layers"])
def test_a_base_that_never_ends_is_refused_while_another_answers(server, name):
    assert asked(server, "good").status_code == 200

    answer, answers = meanwhile(server, lambda: asked(server, name))

    assert (answer.status_code, answer.json()["error"]["status"]) == (500, "INTERNAL")
    message = answer.json()["error"]["message"]
    assert f"models/{name} cannot be used: reading its configuration, tokenizer and template" in message
    assert "take it out of the catalog" in message
    # While a renderer reaches its limit of six seconds of computing, an answer of four tokens is made many times.
    assert answers >= 3
    assert asked(server, name, "countTokens").json()["error"]["message"] == message
    refused = create(server, name)
    assert (refused.status_code, refused.json()["error"]["status"]) == (400, "FAILED_PRECONDITION")
    assert f"Model models/{name} cannot be used on this server" in refused.json()["error"]["message"]
    with server.client() as client:
        models = {each["name"]: each for each in client.get("/v1beta/models").json()["models"]}
    assert "Cannot be used on this server: reading" in models[f"models/{name}"]["description"]
    assert "Cannot be used" not in models["models/good"].get("description", "")


def test_a_base_whose_config_cannot_be_read_does_not_keep_the_server_from_starting(server):
    for answer in (asked(server, "nested"), asked(server, "nested", "countTokens"), create(server, "nested")):
        assert (answer.status_code, answer.json()["error"]["status"]) == (400, "FAILED_PRECONDITION")
        assert (
            "models/nested cannot be used on this server: config.json has values" in answer.json()["error"]["message"]
        )
    with server.client() as client:
        assert "Cannot be used" in client.get("/v1beta/models/nested").json()["description"]
    assert asked(server, "good").status_code == 200


def test_a_template_that_loops_on_some_texts_fails_these_alone(server):
    # Loaded before, since loading may take as long as the text is borne.
    assert {asked(server, name).status_code for name in ("sometimes", "good")} == {200}

    answer, answers = meanwhile(server, lambda: asked(server, "sometimes", "countTokens", "evil"))

    assert "rendering a text with its chat template took more than" in answer.json()["error"]["message"]
    assert answers >= 3
    assert asked(server, "sometimes").status_code == 200


def test_a_job_over_a_bad_base_fails_and_one_over_another_succeeds_meanwhile(server):
    with server.client() as client:
        bad, good = create(server, "looping").json()["name"], create(server, "good").json()["name"]

        def done(name):
            return client.get(f"/v1beta/{name}").json().get("done", False)

        wait_until(lambda: done(good), what="the good job is done")
        wait_until(lambda: done(bad), seconds=240, what="the bad job has failed")
        assert "error" not in client.get(f"/v1beta/{good}").json()
        assert "models/looping cannot be used" in client.get(f"/v1beta/{bad}").json()["error"]["message"]
