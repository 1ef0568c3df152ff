"""The impolite owners of a soak, as a process of their own: each floods the server with requests and jobs.

    python bench/soak_crowd.py '{"url": ..., "keys": [...], "streams": 12, "jobs": 10, "seed": 1}'

Runs until its standard input is closed; then prints how its requests ended, as JSON {kind: {outcome: count}}.
"""

import asyncio
import json
import os
import random
import sys
from collections import Counter, defaultdict
from contextlib import suppress

import httpx

BASE = "models/gemini-1.0-pro-001"
_PAUSE_WHEN_REFUSED_SECONDS = 0.5


class Crowd:
    """All that one owner does at once."""

    def __init__(self, setup: dict, key: str, number: int, outcomes: dict[str, Counter[str]]) -> None:
        self._setup = setup
        self._number = number
        self._outcomes = outcomes
        self._chance = random.Random(setup["seed"] + number)
        self._count = 0
        limits = httpx.Limits(max_connections=None)
        headers = {"x-goog-api-key": key}
        self._client = httpx.AsyncClient(base_url=setup["url"], headers=headers, timeout=120, limits=limits)

    async def flood(self) -> None:
        """Everything together, until it is cancelled."""
        async with self._client:
            await asyncio.gather(
                *(self._forever(self._generate) for _ in range(self._setup["streams"])),
                *(self._forever(self._job) for _ in range(self._setup["jobs"])),
                *(self._forever(self._count_tokens) for _ in range(2)),
                *(self._forever(self._list) for _ in range(2)),
            )

    async def _forever(self, one) -> None:
        while True:
            try:
                await one()
            except httpx.TransportError as error:
                self._outcomes["connection"][type(error).__name__] += 1
                await asyncio.sleep(_PAUSE_WHEN_REFUSED_SECONDS)

    async def _note(self, kind: str, status: int) -> None:
        self._outcomes[kind][str(status)] += 1
        if status != 200:
            await asyncio.sleep(_PAUSE_WHEN_REFUSED_SECONDS)

    async def _generate(self) -> None:
        """A long answer, a long prompt, a new schema, or a stream that is left in the middle."""
        form = self._chance.choice(["long answer", "long prompt", "schema", "left"])
        text = "count " * (4_000 if form == "long prompt" else 1)
        config: dict[str, object] = {"maxOutputTokens": 8 if form == "long prompt" else 200, "temperature": 1}
        model = BASE
        if form == "schema":
            self._count += 1
            fields = {f"field{self._number}_{self._count}_{place}": {"type": "STRING"} for place in range(3)}
            config |= {
                "responseMimeType": "application/json",
                "responseSchema": {"type": "OBJECT", "properties": fields},
            }
            model = "models/tuningfork-mini-001"
        body = {"contents": [{"parts": [{"text": text}]}], "generationConfig": config}
        path = f"/v1beta/{model}:streamGenerateContent?alt=sse"
        async with self._client.stream("POST", path, json=body) as answer:
            async for _ in answer.aiter_bytes():
                if form == "left" and self._chance.random() < 0.2:
                    break
        await self._note(form, answer.status_code)

    async def _job(self) -> None:
        """Create a job; cancel or delete it after a while, whether or not it has ended."""
        self._count += 1
        rows = [{"textInput": f"{self._count} {place}", "output": str(place)} for place in range(40)]
        tuning = {
            "hyperparameters": {"batchSize": 4, "learningRate": 0.001, "epochCount": self._chance.choice([2, 20, 60])},
            "trainingData": {"examples": {"examples": rows}},
        }
        body = {"displayName": "flood", "baseModel": BASE, "tuningTask": tuning}
        answer = await self._client.post("/v1beta/tunedModels", json=body)
        await self._note("create", answer.status_code)
        if answer.status_code != 200:
            return
        operation = answer.json()
        model = operation["metadata"]["tunedModel"]
        await asyncio.sleep(self._chance.uniform(0, 20))
        if self._chance.random() < 0.3:
            answer = await self._client.post(f"/v1beta/{operation['name']}:cancel", json={})
            await self._note("cancel", answer.status_code)
        await self._deleted(model)

    async def _deleted(self, model: str) -> None:
        while True:
            try:
                answer = await self._client.delete(f"/v1beta/{model}")
            except httpx.TransportError:
                await asyncio.sleep(_PAUSE_WHEN_REFUSED_SECONDS)
                continue
            await self._note("delete", answer.status_code)
            if answer.status_code in (200, 404):
                return

    async def _count_tokens(self) -> None:
        body = {"contents": [{"parts": [{"text": "word " * 5_000}]}]}
        answer = await self._client.post(f"/v1beta/{BASE}:countTokens", json=body)
        await self._note("count", answer.status_code)

    async def _list(self) -> None:
        answer = await self._client.get("/v1beta/tunedModels", params={"pageSize": 100})
        await self._note("list", answer.status_code)
        await asyncio.sleep(0.05)


async def run(setup: dict) -> dict[str, Counter[str]]:
    """All owners until standard input is closed."""
    outcomes: dict[str, Counter[str]] = defaultdict(Counter)
    owners = [Crowd(setup, key, number, outcomes) for number, key in enumerate(setup["keys"])]
    flooding = asyncio.gather(*(owner.flood() for owner in owners))
    ended = asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await asyncio.wait([flooding, ended], return_when=asyncio.FIRST_COMPLETED)
    flooding.cancel()
    with suppress(asyncio.CancelledError):
        await flooding
    return outcomes


if __name__ == "__main__":
    # Callers on other machines would not take the server's cores.
    os.nice(5)
    print(json.dumps(asyncio.run(run(json.loads(sys.argv[1])))))
