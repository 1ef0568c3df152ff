"""A server of the benchmark's own on a free loopback port, its data in a folder that goes with it."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

from surroundings import without_settings
from tuningfork.tutorial import EXAMPLES

_THREADS = ("TUNINGFORK_TRAINER_THREADS", "TUNINGFORK_GENERATOR_THREADS")
"""The settings that a server takes over from the benchmark's own environment."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchServer:
    """A server that has started."""

    url: str
    key: str
    pid: int
    data_directory: Path

    def client(self) -> httpx.Client:
        """A client with the first key."""
        return httpx.Client(base_url=self.url, headers={"x-goog-api-key": self.key}, timeout=120)


@contextmanager
def running(
    *options: str, data: Path | None = None, environment: Mapping[str, str] | None = None
) -> Iterator[BenchServer]:
    with tempfile.TemporaryDirectory() as folder:
        directory = data or Path(folder)
        command = [sys.executable, "-m", "tuningfork", "serve", "--port", "0", "--data-dir", str(directory)]
        server = subprocess.Popen(
            [*command, "--log-level", "warning", *options],
            stdout=subprocess.PIPE,
            text=True,
            env={**_surroundings(), "COLUMNS": "200", **(environment or {})},
        )
        try:
            url = next(line.split()[1] for line in server.stdout if line.strip().startswith("URL"))
            key = (directory / "api-key").read_text(encoding="utf-8").strip()
            yield BenchServer(url=url, key=key, pid=server.pid, data_directory=directory)
        finally:
            server.terminate()
            server.wait(60)


def _surroundings() -> dict[str, str]:
    threads = {name: os.environ[name] for name in _THREADS if name in os.environ}
    return without_settings(os.environ) | threads


def tutorial_body(examples: list[dict[str, str]] | None = None, **more: object) -> dict:
    """A create request: the tutorial's, or with other examples."""
    rows = examples or [{"textInput": text_input, "output": output} for text_input, output in EXAMPLES]
    return {
        "displayName": "number generator",
        "baseModel": "models/gemini-1.0-pro-001",
        "tuningTask": {
            "hyperparameters": {"batchSize": 4, "learningRate": 0.001, "epochCount": 5},
            "trainingData": {"examples": {"examples": rows}},
        },
        **more,
    }


def tune(client: httpx.Client, body: dict | None = None) -> str:
    """Tune to the end; the model's name."""
    operation = client.post("/v1beta/tunedModels", json=body or tutorial_body()).raise_for_status().json()
    while not operation.get("done"):
        # As clients do, if more often: who asks without a pause takes a core for rendering what was asked.
        time.sleep(0.1)
        operation = client.get(f"/v1/{operation['name']}").raise_for_status().json()
    return operation["response"]["name"]
