"""`tuningfork serve --grpc-port` as a real process, called by the clients that Google generates."""

import os
import signal
import subprocess
import sys
import time

import grpc
import psutil
import pytest
from google.ai import generativelanguage_v1beta as api

from grpc_caller import calling
from live_server import running
from pairs import pairs_of
from patience import PATIENCE_SECONDS
from ports import free_port
from workshop import NUMBER_PAIRS

pytestmark = pytest.mark.slow

MODEL = "tunedModels/numbers"
STREAM = "/google.ai.generativelanguage.v1beta.GenerativeService/StreamGenerateContent"


@pytest.fixture(scope="module")
def port():
    return free_port()


@pytest.fixture(scope="module")
def server(tmp_path_factory, port, tiny_directories):
    options = ("--grpc-port", str(port), "--base-model", f"tiny={tiny_directories['llama']}")
    with running(tmp_path_factory.mktemp("server"), *options) as server:
        yield server


def caller_of(server, port):
    root = server.data_directory / "tls" / "root.pem"
    return calling(port, root.read_bytes(), ("x-goog-api-key", server.key))


def request(text, model="models/tiny"):
    """A question with one right answer of a few tokens."""
    return api.GenerateContentRequest(
        model=model,
        contents=[api.Content(parts=[api.Part(text=text)])],
        generation_config=api.GenerationConfig(temperature=0.0, max_output_tokens=8),
    )


def test_a_model_that_is_tuned_over_grpc_answers_over_http_too(server, port):
    examples = [api.TuningExample(text_input=given, output=wanted) for given, wanted in pairs_of(NUMBER_PAIRS)]
    model = api.TunedModel(
        base_model="models/tiny",
        tuning_task=api.TuningTask(training_data=api.Dataset(examples=api.TuningExamples(examples=examples))),
    )
    with caller_of(server, port) as caller, server.client() as http:
        operation = caller.models.create_tuned_model(
            api.CreateTunedModelRequest(tuned_model_id="numbers", tuned_model=model)
        )
        tuned = operation.result(timeout=PATIENCE_SECONDS)
        asked = request("1", MODEL)
        whole = caller.generative.generate_content(asked).candidates[0].content.parts[0].text
        pieces = [
            chunk.candidates[0].content.parts[0].text for chunk in caller.generative.stream_generate_content(asked)
        ]
        answer = http.post(
            f"/v1beta/{MODEL}:generateContent",
            json={
                "contents": [{"parts": [{"text": "1"}]}],
                "generationConfig": {"temperature": 0, "maxOutputTokens": 8},
            },
        ).json()

    assert (tuned.name, tuned.state, len(tuned.tuning_task.snapshots)) == (MODEL, api.TunedModel.State.ACTIVE, 19)
    assert len(pieces) > 1
    assert "".join(pieces) == whole == answer["candidates"][0]["content"]["parts"][0]["text"]


def test_the_start_says_how_to_trust_it(server, port):
    said = server.log.read_text()

    assert f"gRPC            127.0.0.1:{port}" in said
    assert f"export GRPC_DEFAULT_SSL_ROOTS_FILE_PATH={server.data_directory}/tls/root.pem" in said


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_ends_open_calls_and_the_next_start_has_the_same_root(tmp_path, tiny_directories, how):
    port = free_port()
    with running(tmp_path, "--grpc-port", str(port), "--base-model", f"tiny={tiny_directories['llama']}") as server:
        root = (server.data_directory / "tls" / "root.pem").read_bytes()
        with caller_of(server, port) as caller:
            caller.generative.generate_content(request("warm up"))
            generator = server.worker("generator")
            # Asleep, it keeps the stream open.
            generator.suspend()
            chunks = caller.channel.unary_stream(STREAM)(api.GenerateContentRequest.serialize(request("count")))
            time.sleep(1)

            exit_code = server.stop(how)

            with pytest.raises(grpc.RpcError):
                list(chunks)
        assert exit_code == 0
        assert not psutil.wait_procs([generator], timeout=PATIENCE_SECONDS)[1]
        assert "Traceback" not in server.log.read_text()
        server.start()
        assert (server.data_directory / "tls" / "root.pem").read_bytes() == root
        with caller_of(server, port) as caller:
            assert caller.generative.generate_content(request("again")).candidates


def test_a_port_that_is_taken_is_refused_in_a_sentence(server, port, tmp_path):
    refused = subprocess.run(
        [
            *(sys.executable, "-m", "tuningfork", "serve", "--port", "0", "--grpc-port", str(port)),
            *("--data-dir", str(tmp_path)),
        ],
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )

    assert refused.returncode == 1
    assert f"gRPC cannot listen on 127.0.0.1:{port}" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert not (tmp_path / "api-key").exists(), "a key that nobody was shown"


def test_without_the_extra_it_is_named(tmp_path):
    program = "import sys; sys.modules['grpc'] = None; from tuningfork.cli import main; main()"
    refused = subprocess.run(
        [sys.executable, "-c", program, "serve", "--port", "0", "--grpc-port", "0", "--data-dir", str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
        env=os.environ,
    )

    assert refused.returncode == 1
    assert "gRPC needs the package grpc, which is not installed" in refused.stderr
    assert "pip install 'tuningfork[grpc]'" in refused.stderr
