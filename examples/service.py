"""What the example programs have in common: plain HTTP requests to the server's public API, files, and a table.

The server's URL is in TUNINGFORK_URL, an API key in TUNINGFORK_API_KEY, the base model's name in TUNINGFORK_BASE_MODEL.
"""

import csv
import json
import os
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx

DATA = Path(__file__).parent / "data"
BASE_MODEL = os.environ.get("TUNINGFORK_BASE_MODEL", "models/smollm2")
KEY_FILE = Path.home() / ".local" / "share" / "tuningfork" / "api-key"
REQUESTS_AT_ONCE = 8
POLL_SECONDS = 2.0
ROLES = {"user": "user", "assistant": "model"}

Messages = Sequence[Mapping[str, str]]


def connect() -> httpx.Client:
    """A client of the server that the environment names; without a name, of one on this machine."""
    url = os.environ.get("TUNINGFORK_URL", "http://127.0.0.1:8000")
    key = os.environ.get("TUNINGFORK_API_KEY") or KEY_FILE.read_text(encoding="utf-8").strip()
    return httpx.Client(base_url=url, headers={"x-goog-api-key": key}, timeout=600)


def read(name: str) -> list[dict[str, Any]]:
    """The rows of a file in `examples/data`, a CSV file with a header or one JSON object a line."""
    text = (DATA / name).read_text(encoding="utf-8")
    if name.endswith(".csv"):
        return list(csv.DictReader(text.splitlines()))
    return [json.loads(line) for line in text.splitlines()]


def tune(client: httpx.Client, base_model: str, name: str, rows: Sequence[Mapping[str, Any]], settings: Any) -> str:
    """Tune the base model on the rows, print the loss now and then, and return the tuned model's name.

    Rows with `messages` are conversations, which only `v1alpha` accepts; others have `text_input` and `output`.
    """
    conversations = "messages" in rows[0]
    if conversations:
        examples = {"multiturnExamples": [{"contents": contents(row["messages"])} for row in rows]}
    else:
        examples = {"examples": [{"textInput": row["text_input"], "output": row["output"]} for row in rows]}
    body = {
        "displayName": name,
        "baseModel": base_model,
        "tuningTask": {"hyperparameters": settings, "trainingData": {"examples": examples}},
    }
    path = "/v1alpha/tunedModels" if conversations else "/v1beta/tunedModels"
    operation = answered(client.post(path, json=body))
    while not operation.get("done"):
        time.sleep(POLL_SECONDS)
        operation = answered(client.get(f"/v1/{operation['name']}"))
        show_progress(operation.get("metadata", {}))
    if "error" in operation:
        raise SystemExit(f"{name} could not be tuned: {operation['error']['message']}")
    return str(operation["response"]["name"])


def show_progress(metadata: Mapping[str, Any]) -> None:
    """Print the step that a run has reached, and the mean loss of that step."""
    snapshots = metadata.get("snapshots") or []
    if snapshots:
        loss = snapshots[-1].get("meanLoss", 0.0)
        print(
            f"  step {metadata.get('completedSteps', 0)} of {metadata['totalSteps']}, mean loss {loss:.3f}", flush=True
        )


def ask(client: httpx.Client, model: str, prompts: Sequence[str | Messages], *, max_tokens: int) -> list[str]:
    """The model's most likely answers, at most `max_tokens` long, to texts or to conversations."""

    def one(prompt: str | Messages) -> str:
        messages = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
        settings = {"temperature": 0, "maxOutputTokens": max_tokens}
        body = {"contents": contents(messages), "generationConfig": settings}
        answer = answered(client.post(f"/v1beta/{model}:generateContent", json=body))
        parts = answer["candidates"][0].get("content", {}).get("parts", [])
        return "".join(part["text"] for part in parts).strip()

    print(f"  asking {model} {len(prompts)} times", flush=True)
    with ThreadPoolExecutor(REQUESTS_AT_ONCE) as threads:
        return list(threads.map(one, prompts))


def contents(messages: Messages) -> list[dict[str, Any]]:
    """Messages as the API has them."""
    return [{"role": ROLES[each["role"]], "parts": [{"text": each["content"]}]} for each in messages]


def answered(response: httpx.Response) -> dict[str, Any]:
    """The answer's JSON. The program ends with the server's message if there is an error."""
    if response.is_error:
        raise SystemExit(f"{response.request.url} answered {response.status_code}: {response.text}")
    found: dict[str, Any] = response.json()
    return found


def show(scores: Mapping[str, Mapping[str, float]]) -> None:
    """Print a table: a line for each metric, a column for each model."""
    metrics = list(next(iter(scores.values())))
    width = max(len(metric) for metric in metrics)
    print("\n" + " " * width + "".join(f"{model:>10}" for model in scores))
    for metric in metrics:
        print(f"{metric:{width}}" + "".join(f"{each[metric]:10.3f}" for each in scores.values()))
