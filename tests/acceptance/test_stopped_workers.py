"""A worker that is stopped, or reads nothing, holds up nobody but those who wait for it, and is replaced."""

import os
import signal
import statistics
import threading
import time
from contextlib import contextmanager, suppress

import psutil
import pytest

from live_server import LiveServer
from patience import PATIENCE_SECONDS, RUN_SECONDS, wait_until

pytestmark = [pytest.mark.acceptance, pytest.mark.slow]

SILENCE_SECONDS = 10
"""More than a worker of a busy machine is ever silent."""
END_SECONDS = 30
"""Within which a service manager's patience ends. What the server grants its clients and workers are 12 seconds."""
LONG_JOB = {
    "baseModel": "models/tiny",
    "tuningTask": {
        "hyperparameters": {"batchSize": 1, "learningRate": 0.001, "epochCount": 100},
        "trainingData": {"examples": {"examples": [{"textInput": str(i), "output": str(i + 1)} for i in range(20)]}},
    },
}
GENERATE = "/v1beta/models/tiny:generateContent"


@pytest.fixture
def server(tmp_path, tiny_directories, monkeypatch):
    monkeypatch.setenv("TUNINGFORK_WORKER_SILENCE_SECONDS", str(SILENCE_SECONDS))
    server = LiveServer(tmp_path, "--base-model", f"tiny={tiny_directories['llama']}")
    server.start()
    yield server
    for worker in server.workers():
        with suppress(psutil.NoSuchProcess):
            worker.resume()
    server.stop()


def said(text):
    return {"contents": [{"parts": [{"text": text}]}], "generationConfig": {"maxOutputTokens": 4, "temperature": 0}}


@contextmanager
def measured(server, paths):
    """The times that these took to be answered meanwhile, in seconds."""
    times, over = [], threading.Event()

    def look():
        with server.client() as client:
            while not over.wait(0.02):
                for path in paths:
                    began = time.monotonic()
                    assert client.get(path).status_code == 200
                    times.append(time.monotonic() - began)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield times
    finally:
        over.set()
        thread.join()


def test_a_stopped_generator_freezes_nothing_and_is_replaced(server):
    with server.client() as client:
        assert client.post(GENERATE, json=said("one")).status_code == 200
        stopped = server.worker("generator")
        stopped.suspend()
        statuses = []

        def ask():
            # More than a pipe holds: whoever wrote them would wait for the reader.
            began = time.monotonic()
            answer = client.post(GENERATE, json=said("x" * 10_000))
            statuses.append((answer.status_code, time.monotonic() - began))

        asking = [threading.Thread(target=ask) for _ in range(60)]
        with measured(server, ["/healthz", "/v1beta/tunedModels", "/v1beta/models"]) as times:
            for thread in asking:
                thread.start()
            for thread in asking:
                thread.join()
        after = client.post(GENERATE, json=said("one"))

    # Prompts of ten thousand tokens are longer than the context: 400 by the new generator, or 503 by the old one's end.
    assert {status for status, _ in statuses} <= {400, 503}
    assert max(seconds for _, seconds in statuses) < SILENCE_SECONDS + PATIENCE_SECONDS
    # On a quiet machine some ten milliseconds each. A server that waited would answer nothing until the child ended.
    assert statistics.median(times) < SILENCE_SECONDS / 10
    assert max(times) < SILENCE_SECONDS
    assert after.status_code == 200
    assert server.worker("generator").pid != stopped.pid


def test_a_stream_of_a_stopped_generator_ends_with_an_error_that_can_be_retried(server):
    body = {"contents": [{"parts": [{"text": "one"}]}], "generationConfig": {"maxOutputTokens": 400, "temperature": 1}}
    path = "/v1beta/models/tiny:streamGenerateContent?alt=sse"

    def stopped_after_the_first_piece(client, generator):
        """The first piece and the rest; None if the answer was complete before the generator was stopped."""
        with client.stream("POST", path, json=body) as answer:
            pieces = answer.iter_text()
            first = next(pieces)
            generator.suspend()
            rest = "".join(pieces)
        if "finishReason" in first + rest:
            generator.resume()
            return None
        return first, rest

    with server.client() as client:
        assert client.post(GENERATE, json=said("one")).status_code == 200
        generator = server.worker("generator")
        first, rest = wait_until(
            lambda: stopped_after_the_first_piece(client, generator), what="it is stopped in the middle of an answer"
        )

    assert first.startswith("data:")
    assert '"code": 503' in rest or '"code":503' in rest
    assert "no sign of life" in rest


def test_the_jobs_of_a_stopped_trainer_go_on_with_another(server):
    with server.client() as client:
        name = client.post("/v1beta/tunedModels", json=LONG_JOB).json()["metadata"]["tunedModel"]

        def job():
            return client.get(f"/v1beta/{name}").json()

        wait_until(lambda: len(job()["tuningTask"].get("snapshots", [])) > 25, what="some steps")
        stopped = server.worker("trainer")
        stopped.suspend()
        # It takes the time that its silence is borne, and a trainer that has to load.
        wait_until(lambda: not psutil.pid_exists(stopped.pid), what="it is noticed")
        wait_until(lambda: job()["state"] == "ACTIVE", what="the job ends with another trainer", seconds=RUN_SECONDS)
        steps = [each["step"] for each in job()["tuningTask"]["snapshots"]]
        client.delete(f"/v1beta/{name}")

    assert steps == list(range(1, 2001))


@pytest.mark.parametrize("how", [signal.SIGTERM])
def test_a_server_ends_within_its_grace_whatever_its_workers_do(server, how):
    with server.client() as client:
        client.post("/v1beta/tunedModels", json=LONG_JOB)
        assert client.post(GENERATE, json=said("one")).status_code == 200
        wait_until(lambda: len(server.workers()) == 2, what="both workers run")
    workers = server.workers()
    for each in workers:
        os.kill(each.pid, signal.SIGSTOP)
    began = time.monotonic()
    exit_code = server.stop(how)
    seconds = time.monotonic() - began
    left = psutil.wait_procs(workers, timeout=PATIENCE_SECONDS)[1]
    server.start()

    assert exit_code == 0
    assert seconds < END_SECONDS
    assert not left
