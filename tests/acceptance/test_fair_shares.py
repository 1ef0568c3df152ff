"""An owner with one request or one job waits for no crowd of another's, through the real service."""

import asyncio
import subprocess
import sys
import time
from functools import partial

import httpx
import pytest

from live_server import LiveServer
from patience import PATIENCE_SECONDS, wait_until

pytestmark = [pytest.mark.acceptance, pytest.mark.slow]

GENERATE = "/v1beta/models/tiny:generateContent"
COUNT = "/v1beta/models/tiny:countTokens"


@pytest.fixture(scope="module")
def server(tmp_path_factory, tiny_directories):
    server = LiveServer(tmp_path_factory.mktemp("fair"), "--base-model", f"tiny={tiny_directories['llama']}")
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def bob(server):
    """The headers of another owner."""
    command = [sys.executable, "-m", "tuningfork", "keys", "create", "--email", "bob@example.com"]
    made = subprocess.run(command, env=server.environment, check=True, capture_output=True, text=True)
    return {"x-goog-api-key": made.stdout.strip().split()[-1]}


def said(text, tokens, **config):
    return {
        "contents": [{"parts": [{"text": text}]}],
        "generationConfig": {"maxOutputTokens": tokens, "temperature": 1, **config},
    }


async def timed(client, path, body, headers):
    began = time.monotonic()
    answer = await client.post(path, json=body, headers=headers)
    assert answer.status_code == 200, answer.text
    return time.monotonic() - began


def client_of(server):
    limits = httpx.Limits(max_connections=None)
    return httpx.AsyncClient(base_url=server.url, timeout=300, limits=limits)


def test_behind_a_crowd_of_schemas_another_owner_can_count_and_compile(server, bob):
    ada = server.headers

    def schema(number):
        fields = {f"field{number}_{place}": {"type": "STRING"} for place in range(5)}
        return {"responseMimeType": "application/json", "responseSchema": {"type": "OBJECT", "properties": fields}}

    async def story():
        async with client_of(server) as client:
            crowd = [asyncio.create_task(timed(client, GENERATE, said("one", 4, **schema(n)), ada)) for n in range(30)]
            # Then all of them have arrived.
            await asyncio.wait(crowd, return_when=asyncio.FIRST_COMPLETED)
            already = sum(each.done() for each in crowd)
            long = {"contents": [{"parts": [{"text": "word " * 10_000}]}]}
            await timed(client, COUNT, long, bob)
            when_counted = sum(each.done() for each in crowd) - already
            await timed(client, GENERATE, said("one", 4, **schema("bob")), bob)
            when_compiled = sum(each.done() for each in crowd) - already
            await asyncio.gather(*crowd)
            return when_counted, when_compiled

    when_counted, when_compiled = asyncio.run(story())

    # By order and not by time, since a busy machine slows both owners down.
    assert when_counted < 10
    assert when_compiled < 15


def test_behind_a_crowd_of_jobs_another_owners_job_is_trained(server, bob):
    def job(epochs):
        examples = [{"textInput": str(number), "output": str(number + 1)} for number in range(20)]
        return {
            "baseModel": "models/tiny",
            "tuningTask": {
                "hyperparameters": {"batchSize": 1, "learningRate": 0.001, "epochCount": epochs},
                "trainingData": {"examples": {"examples": examples}},
            },
        }

    with httpx.Client(base_url=server.url, timeout=PATIENCE_SECONDS) as client:
        crowd = [
            client.post("/v1beta/tunedModels", json=job(500), headers=server.headers).json()["metadata"]["tunedModel"]
            for _ in range(12)
        ]

        def state(name, headers):
            return client.get(f"/v1beta/{name}", headers=headers).json()["state"]

        def steps(name):
            metadata = client.get(f"/v1beta/{name}", headers=server.headers).json()["tuningTask"]
            return len(metadata.get("snapshots", []))

        wait_until(lambda: steps(crowd[7]) > 0, what="all places are taken")
        mine = client.post("/v1beta/tunedModels", json=job(2), headers=bob).json()["metadata"]["tunedModel"]
        wait_until(lambda: state(mine, bob) == "ACTIVE", what="the other owner's job is done")
        others = [state(name, server.headers) for name in crowd]
        for name in crowd:
            client.delete(f"/v1beta/{name}", headers=server.headers)
        client.delete(f"/v1beta/{mine}", headers=bob)

    assert others == ["CREATING"] * len(crowd)


def test_workers_step_back_behind_the_server_and_the_trainer_most(server):
    examples = [{"textInput": str(number), "output": str(number + 1)} for number in range(20)]
    tuning = {"hyperparameters": {"epochCount": 1}, "trainingData": {"examples": {"examples": examples}}}
    with httpx.Client(base_url=server.url, headers=server.headers, timeout=PATIENCE_SECONDS) as client:
        assert client.post(COUNT, json={"contents": said("one", 1)["contents"]}).is_success
        assert client.post("/v1beta/tunedModels", json={"baseModel": "models/tiny", "tuningTask": tuning}).is_success

        def step_back(role):
            """By how much it has stepped back; 0: not yet, or it does not run yet."""
            worker = server.worker(role)
            return worker.nice() - server.process.nice() if worker else 0

        steps = [wait_until(partial(step_back, role), what=f"the {role} runs") for role in ("generator", "trainer")]
    assert 0 < steps[0] < steps[1]
