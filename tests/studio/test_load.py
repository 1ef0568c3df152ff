"""What many open pages of a running job cost the server, by its processor time."""

import asyncio
import time

import httpx
import pytest

from visitor import PAIRS

pytestmark = pytest.mark.slow

TABS = 50
SECONDS = 8
MOST_SHARE = 0.1


@pytest.fixture
def running(server):
    """A job that is at work for as long as the test wants."""
    with server.client() as client:
        task = {
            "trainingData": {"examples": {"examples": [{"textInput": a, "output": b} for a, b in PAIRS]}},
            "hyperparameters": {"epochCount": 1000, "batchSize": 1, "learningRate": 0.001},
        }
        body = {"displayName": "long", "baseModel": "models/tuningfork-mini-001", "tuningTask": task}
        name = client.post("/tuningfork/v1/tunedModels", json=body).json()["metadata"]["tunedModel"]
        while not client.get(f"/tuningfork/v1/{name}/job").json().get("step"):
            time.sleep(0.2)
        # Pages of a young job ask twice as often.
        time.sleep(16)
        yield name.removeprefix("tunedModels/")
        client.delete(f"/v1beta/{name}")


async def tab(client, model, place, until):
    """One open page: its live part and its curve, each once a second, with what it has already."""
    await asyncio.sleep(place / TABS)
    tag, step, asked = "", 0, 0
    while time.monotonic() < until:
        began = time.monotonic()
        headers = {"studio-fragment": "model", **({"if-none-match": tag} if tag else {})}
        part = await client.get(f"/studio/models/{model}", headers=headers)
        assert part.status_code in {200, 304}, part.text
        tag = part.headers["etag"]
        series = await client.get(f"/studio/api/tuningfork/v1/tunedModels/{model}/series?afterStep={step}")
        step = series.json().get("nextAfterStep", step)
        asked += 2
        await asyncio.sleep(max(0.0, began + 1 - time.monotonic()))
    return asked


async def tabs(server, model, count):
    limits = httpx.Limits(max_connections=count, max_keepalive_connections=count)
    async with httpx.AsyncClient(base_url=server.url, limits=limits, timeout=60) as client:
        origin = {"origin": server.url}
        signed_in = await client.post("/studio/sign-in", data={"key": server.key}, headers=origin)
        assert signed_in.status_code == 303
        until = time.monotonic() + SECONDS
        return sum(await asyncio.gather(*(tab(client, model, place, until) for place in range(count))))


def used(server):
    """The processor seconds that the server has taken so far, its workers not counted."""
    times = server.process.cpu_times()
    return times.user + times.system


def cost(server, model, count):
    """How many processor seconds the server takes for so many pages, and how many requests it answers."""
    before = used(server)
    asked = asyncio.run(tabs(server, model, count))
    return used(server) - before, asked


def test_fifty_open_pages_of_a_running_job_take_less_than_a_tenth_of_a_core(server, running):
    asyncio.run(tabs(server, running, 2))
    one, few = cost(server, running, 1)
    all_of_them, asked = cost(server, running, TABS)

    # On a busy machine fewer questions come in a second than pages ask on a quiet one, and each takes what it takes.
    each = (all_of_them - one) / (asked - few)
    assert each * 2 * TABS < MOST_SHARE
