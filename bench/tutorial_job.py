"""From the create request to ACTIVE, and from the last step to an answer: the tutorial's job on a warm server.

    python bench/tutorial_job.py [--rounds 5]

Starts a server of its own on a free loopback port; the first job warms it up and is not counted.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import httpx

from tuningfork.tutorial import EXAMPLES

RESULTS = Path(__file__).parent / "results"


def create_body() -> dict:
    return {
        "displayName": "number generator",
        "baseModel": "models/gemini-1.0-pro-001",
        "tuningTask": {
            "hyperparameters": {"batchSize": 4, "learningRate": 0.001, "epochCount": 5},
            "trainingData": {"examples": {"examples": [{"textInput": i, "output": o} for i, o in EXAMPLES]}},
        },
    }


def tune_once(client: httpx.Client) -> dict[str, float]:
    """Seconds from sending the create to seeing ACTIVE."""
    begin = time.perf_counter()
    operation = client.post("/v1beta/tunedModels", json=create_body()).raise_for_status().json()
    while not operation.get("done"):
        time.sleep(0.005)
        operation = client.get(f"/v1/{operation['name']}").raise_for_status().json()
    active = time.perf_counter()
    client.delete(f"/v1beta/{operation['response']['name']}").raise_for_status()
    return {"create to ACTIVE": active - begin}


def answer_once(client: httpx.Client) -> dict[str, float]:
    """Seconds from the job's last step to the whole of the first tuned answer, asked for again and again until then."""
    operation = client.post("/v1beta/tunedModels", json=create_body()).raise_for_status().json()
    name = operation["metadata"]["tunedModel"]
    question = {"contents": [{"parts": [{"text": "LXIII"}]}]}
    while client.post(f"/v1beta/{name}:generateContent", json=question).status_code != 200:
        time.sleep(0.005)
    answered = datetime.now(UTC)
    snapshots = client.get(f"/v1beta/{name}").raise_for_status().json()["tuningTask"]["snapshots"]
    client.delete(f"/v1beta/{name}").raise_for_status()
    last_step = datetime.fromisoformat(snapshots[-1]["computeTime"])
    return {"last step to answer": (answered - last_step).total_seconds()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "tuningfork", "serve", "--port", "0", "--data-dir", folder]
        server = subprocess.Popen(
            [*command, "--log-level", "warning"],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "COLUMNS": "200"},
        )
        try:
            url = next(line.split()[1] for line in server.stdout if line.strip().startswith("URL"))
            key = (Path(folder) / "api-key").read_text(encoding="utf-8").strip()
            with httpx.Client(base_url=url, headers={"x-goog-api-key": key}, timeout=120) as client:
                tune_once(client)
                rounds = [tune_once(client) | answer_once(client) for _ in range(arguments.rounds)]
        finally:
            server.terminate()
            server.wait(20)
    medians = {name: statistics.median(r[name] for r in rounds) for name in rounds[0]}
    print(f"the tutorial's job on a warm server, {arguments.rounds} rounds, {os.cpu_count()} cores")
    for name, median in medians.items():
        print(f"  {name:20} {median:6.3f} s (median)")
    RESULTS.mkdir(exist_ok=True)
    results = {"median_seconds": medians, "rounds": rounds}
    (RESULTS / "tutorial_job.json").write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
