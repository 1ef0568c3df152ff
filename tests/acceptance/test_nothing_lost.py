"""Every acknowledged job survives kill -9 of any process at any moment, and ends with the adapter it would have had."""

import io
import random
import tarfile
import time

import httpx
import pytest

from live_server import LiveServer
from patience import RUN_SECONDS, wait_until

pytestmark = [pytest.mark.acceptance, pytest.mark.slow, pytest.mark.timeout(2_400)]

KILLS = 36
JOBS = 8
SEED = 20_241_121


def create_body(number: int) -> dict:
    """Job `number`: data, batch size and epochs of its own, some hundred steps in all."""
    examples = [{"textInput": f"{number} {i}", "output": f"{number} {i + 1}"} for i in range(10 + number)]
    return {
        "displayName": f"job {number}",
        "baseModel": "models/tiny",
        "tuningTask": {
            "hyperparameters": {"batchSize": 2 + number % 3, "learningRate": 0.002, "epochCount": 40},
            "trainingData": {"examples": {"examples": examples}},
        },
    }


def create(client: httpx.Client, number: int) -> bool:
    """Whether the service acknowledged the job, now or (told by the taken name) before its answer was lost."""
    try:
        answer = client.post(f"/v1beta/tunedModels?tunedModelId=job-{number}", json=create_body(number))
    except httpx.TransportError:
        return False
    assert answer.status_code in (200, 409), answer.text
    return True


def ask(client: httpx.Client) -> None:
    """A request of a bystander: it is answered, or told to come again."""
    question = {"contents": [{"parts": [{"text": "1"}]}], "generationConfig": {"maxOutputTokens": 5}}
    try:
        answer = client.post("/v1beta/models/tiny:generateContent", json=question)
    except httpx.TransportError:
        return
    assert answer.status_code in (200, 503), answer.text


def model(client: httpx.Client, number: int) -> dict:
    answer = client.get(f"/v1beta/tunedModels/job-{number}")
    assert answer.status_code == 200, f"job {number} was acknowledged, but: {answer.text}"
    return answer.json()


def steps(client: httpx.Client, number: int) -> list[tuple[int, float]]:
    snapshots = model(client, number)["tuningTask"].get("snapshots", [])
    return [(snapshot["step"], snapshot["meanLoss"]) for snapshot in snapshots]


def adapter(client: httpx.Client, number: int) -> bytes:
    archive = client.get(f"/tuningfork/v1/tunedModels/job-{number}/adapter").raise_for_status().content
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        name = next(name for name in tar.getnames() if name.endswith("adapter_model.safetensors"))
        return tar.extractfile(name).read()


def wait_for_end(server: LiveServer, number: int) -> None:
    with server.client() as client:
        wait_until(
            lambda: model(client, number)["state"] != "CREATING",
            what=f"job {number} ends",
            seconds=RUN_SECONDS,
            every=0.2,
        )
        assert model(client, number)["state"] == "ACTIVE", client.get(f"/v1beta/tunedModels/job-{number}").text


@pytest.fixture
def server(tmp_path, tiny_directories):
    servers = []

    def make(name: str) -> LiveServer:
        server = LiveServer(tmp_path / name, "--base-model", f"tiny={tiny_directories['llama']}")
        servers.append(server)
        server.start()
        return server

    yield make
    for server in servers:
        server.stop()


class Vandal:
    """Kills one process after the other, but leaves a job the chance that the service promises it.

    A job is given up when it kills its trainer three times in a row without a further step. So before the second
    trainer in a row dies, some step must have been taken.
    """

    def __init__(self, server: LiveServer, chance: random.Random) -> None:
        self._server = server
        self._chance = chance
        self._steps_at_last_kill = -1
        self.kills = {"server": 0, "trainer": 0, "generator": 0}

    def strike(self, acknowledged: set[int]) -> None:
        role = self._chance.choice(["server", "trainer", "trainer", "generator"])
        time.sleep(self._chance.uniform(0.0, 1.5))
        if role == "trainer":
            self._wait_for_a_step(acknowledged)
        if role == "generator":
            # A slow machine takes long to load the next one.
            wait_until(lambda: self._server.worker("generator") is not None, what="a generator has begun")
        if self._server.kill(role):
            self.kills[role] += 1
        if role == "server":
            self._server.start()

    def _wait_for_a_step(self, acknowledged: set[int]) -> None:
        with self._server.client() as client:

            def taken() -> int:
                return sum(len(steps(client, number)) for number in acknowledged)

            def all_ended() -> bool:
                return all(model(client, number)["state"] != "CREATING" for number in acknowledged)

            wait_until(lambda: all_ended() or taken() > self._steps_at_last_kill, what="a job takes a further step")
            self._steps_at_last_kill = taken()


def test_jobs_survive_the_death_of_every_process_and_end_as_if_undisturbed(server):
    calm = server("calm")
    with calm.client() as client:
        assert all(create(client, number) for number in range(JOBS))
    for number in range(JOBS):
        wait_for_end(calm, number)
    chance = random.Random(SEED)
    stormy = server("stormy")
    vandal = Vandal(stormy, chance)
    acknowledged: set[int] = set()

    while sum(vandal.kills.values()) < KILLS:
        with stormy.client() as client:
            # One job every few blows, so that there is work to disturb until the end.
            number = sum(vandal.kills.values()) * JOBS // KILLS
            if number not in acknowledged and create(client, number):
                acknowledged.add(number)
            ask(client)
        vandal.strike(acknowledged)
        with stormy.client() as client:
            for known in acknowledged:
                assert model(client, known)["state"] in ("CREATING", "ACTIVE")

    for number in acknowledged:
        wait_for_end(stormy, number)
    assert len(acknowledged) == JOBS
    assert min(vandal.kills.values()) >= 4, vandal.kills
    with calm.client() as undisturbed, stormy.client() as disturbed:
        for number in range(JOBS):
            assert steps(disturbed, number) == steps(undisturbed, number)
            assert adapter(disturbed, number) == adapter(undisturbed, number)


def test_a_create_that_was_answered_is_there_after_kill_9_at_once(server):
    live = server("sudden")
    for number in range(5):
        with live.client() as client:
            assert client.post(f"/v1beta/tunedModels?tunedModelId=job-{number}", json=create_body(number)).is_success
        live.kill("server")
        live.start()

    with live.client() as client:
        listed = client.get("/v1beta/tunedModels").json()["tunedModels"]
    assert [entry["name"] for entry in listed] == [f"tunedModels/job-{number}" for number in range(5)]
