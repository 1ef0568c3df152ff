"""A server that is asked to end gives its jobs back and ends its workers; started again, it goes on where it was."""

import signal

import psutil
import pytest

from live_server import LiveServer
from patience import PATIENCE_SECONDS, wait_until

pytestmark = [pytest.mark.acceptance, pytest.mark.slow]

LONG_JOB = {
    "baseModel": "models/tiny",
    "tuningTask": {
        "hyperparameters": {"batchSize": 1, "learningRate": 0.001, "epochCount": 95},
        "trainingData": {"examples": {"examples": [{"textInput": str(i), "output": str(i + 1)} for i in range(20)]}},
    },
}


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_a_running_job_outlives_an_orderly_end_without_losing_a_step(tmp_path, tiny_directories, how):
    server = LiveServer(tmp_path, "--base-model", f"tiny={tiny_directories['llama']}")
    server.start()
    with server.client() as client:
        name = client.post("/v1beta/tunedModels?tunedModelId=long", json=LONG_JOB).json()["name"]

        def completed() -> int:
            return client.get(f"/v1beta/{name}").json()["metadata"].get("completedSteps", 0)

        wait_until(lambda: completed() > 25, what="the job has taken some steps")
        before = completed()
        wait_until(lambda: len(server.workers()) == 2, what="both workers run")
    workers = server.workers()

    exit_code = server.stop(how)

    assert exit_code == 0
    assert not psutil.wait_procs(workers, timeout=PATIENCE_SECONDS)[1]
    server.start()
    try:
        with server.client() as client:
            wait_until(lambda: completed() > before, what="the job goes on")
            snapshots = client.get(f"/v1beta/{name}").json()["metadata"]["snapshots"]
            assert [each["step"] for each in snapshots] == list(range(1, len(snapshots) + 1))
            assert client.delete("/v1beta/tunedModels/long").status_code == 200
    finally:
        server.stop()
