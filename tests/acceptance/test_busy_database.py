"""Another process holds the database's only place to write: reads go on, and writes are told to come back."""

import sqlite3
import statistics
import threading
import time

import pytest

from live_server import LiveServer
from patience import wait_until
from tuningfork.store.write_turns import OF_REQUESTS, OF_WORK

pytestmark = [pytest.mark.acceptance, pytest.mark.slow]

JOB = {
    "baseModel": "models/tiny",
    "tuningTask": {
        "hyperparameters": {"batchSize": 1, "learningRate": 0.001, "epochCount": 20},
        "trainingData": {"examples": {"examples": [{"textInput": str(i), "output": str(i + 1)} for i in range(20)]}},
    },
}


def test_while_the_database_is_held_reads_go_on_and_writes_answer_503(tmp_path, tiny_directories):
    server = LiveServer(tmp_path, "--base-model", f"tiny={tiny_directories['llama']}")
    server.start()
    try:
        with server.client() as client:
            name = client.post("/v1beta/tunedModels?tunedModelId=long", json=JOB).json()["metadata"]["tunedModel"]
            other = sqlite3.connect(server.data_directory / "tuningfork.db", isolation_level=None, timeout=30)
            other.execute("BEGIN IMMEDIATE")
            answers, times = [], []

            def create():
                began = time.monotonic()
                answer = client.post("/v1beta/tunedModels", json=JOB)
                answers.append((answer, time.monotonic() - began))

            creating = [threading.Thread(target=create) for _ in range(60)]
            for thread in creating:
                thread.start()
            while any(thread.is_alive() for thread in creating):
                for path in ("/healthz", "/v1beta/tunedModels"):
                    began = time.monotonic()
                    assert client.get(path).status_code == 200
                    times.append(time.monotonic() - began)
                time.sleep(0.02)
            other.execute("ROLLBACK")
            other.close()
            after = client.post("/v1beta/tunedModels", json=JOB)
            wait_until(lambda: client.get(f"/v1beta/{name}").json()["state"] == "ACTIVE", what="it ends")
            steps = [each["step"] for each in client.get(f"/v1beta/{name}").json()["tuningTask"]["snapshots"]]
    finally:
        server.stop()

    assert {answer.status_code for answer, _ in answers} == {503}
    assert {answer.headers["retry-after"] for answer, _ in answers} == {"5"}
    assert max(seconds for _, seconds in answers) < OF_WORK.seconds
    # Readers that waited for the writers would wait as long as these; on a slow machine both take longer.
    longest = max(seconds for _, seconds in answers)
    assert longest >= OF_REQUESTS.seconds
    assert statistics.median(times) < longest / 10
    assert max(times) < longest
    assert after.status_code == 200
    assert steps == list(range(1, 401))
