"""What the service costs beyond its engines: streams, snapshots, large creates.

    python bench/service_overhead.py [--streams 32] [--rounds 6] [--tokens 48]

**Streams.** So many streams at once over tuned models, with the real generator. Times are taken with the machine's one
monotonic clock in the client (a process of its own), in the generator's pipe and at the engine's border:

- before the engine: from the client's send to the engine's `add`, less what is left of the step that the engine is in
  when the request comes out of the pipe: that is the engine's own time.
- after the engine: for each piece of text, from the return of the engine's `step` to the client's `recv`.
- between steps: from the return of a step to the beginning of the next, while there is work: what the service takes of
  the engine's time.

Overhead of a request's first piece is the first two together, that of any other piece the second alone.

**Snapshots.** The time of a training step in a trainer whose steps are recorded by a server with a database on a disk,
beside the same trainer's, whose steps nobody records.

**Large creates.** From the first byte sent of a create with 4 MB of examples to its answer.
"""

import argparse
import json
import os
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from urllib.parse import urlsplit

import httpx
from bench_server import BenchServer, running, tune, tutorial_body

RESULTS = Path(__file__).parent / "results"
RECORD = struct.Struct("=cqd")


def quantiles(times: list[float]) -> dict[str, float]:
    """In milliseconds."""
    ordered = sorted(times)
    at = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "max": 1.0}
    return {name: 1000 * ordered[min(len(ordered) - 1, int(len(ordered) * share))] for name, share in at.items()}


class Trace:
    """What the generator noted (see `tracing/sitecustomize.py`)."""

    def __init__(self, path: Path) -> None:
        self.taken: dict[int, float] = {}
        self.added: dict[int, float] = {}
        self.given: dict[int, list[float]] = defaultdict(list)
        self.steps: list[tuple[float, float]] = []
        began = 0.0
        for kind, number, moment in RECORD.iter_unpack(path.read_bytes()):
            match kind:
                case b"t":
                    self.taken[number] = moment
                case b"a":
                    self.added[number] = moment
                case b"g":
                    self.given[number].append(moment)
                case b"b":
                    began = moment
                case b"e":
                    self.steps.append((began, moment))

    def stepping(self, begin: float, end: float) -> float:
        """How long the engine was in a step between these."""
        return sum(max(0.0, min(end, until) - max(begin, since)) for since, until in self.steps)


def tune_long(client: httpx.Client) -> str:
    """A model whose answers are long: fifteen numbers that follow one another, spelled in digits."""
    rows = [
        {"textInput": f"a{n}", "output": " ".join(str(1000 + (n * k) % 8999) for k in range(1, 16))}
        for n in range(11, 26)
    ]
    return tune(client, tutorial_body(rows))


def stream_once(server: BenchServer, models: list[str], arguments: argparse.Namespace) -> list[dict]:
    address = urlsplit(server.url)
    numbers = map(str, (arguments.streams, arguments.rounds, arguments.tokens))
    command = [sys.executable, Path(__file__).with_name("stream_client.py"), address.hostname, str(address.port)]
    done = subprocess.run([*command, server.key, *numbers, *models], check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


def cpu_seconds(pid: int) -> float:
    return sum(map(int, Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13])) / 100


def measure_streams(arguments: argparse.Namespace) -> dict:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace"
        tracing = {
            "PYTHONPATH": os.environ.get("PROFPATH", str(Path(__file__).parent / "tracing")),
            "TUNINGFORK_BENCH_TRACE": str(path),
        }
        with running(*arguments.option, environment=tracing) as server:
            with server.client() as client:
                models = [tune_long(client) for _ in range(4)]
            stream_once(server, models, argparse.Namespace(streams=4, rounds=2, tokens=8))
            before = cpu_seconds(server.pid)
            requests = stream_once(server, models, arguments)
            cpu = cpu_seconds(server.pid) - before
        return evaluated(Trace(path), requests) | {
            "cpu_us_per_piece": 1e6 * cpu / sum(len(r["events"]) for r in requests)
        }


def evaluated(trace: Trace, requests: list[dict]) -> dict:
    first, later, before = [], [], []
    for request in requests:
        seed, sent, events = request["seed"], request["sent"], request["events"]
        given = trace.given[seed]
        if len(given) != len(events):
            raise SystemExit(f"request {seed}: the engine gave {len(given)} pieces, {len(events)} came")
        taken, added = trace.taken[seed], trace.added[seed]
        before.append(added - sent - trace.stepping(taken, added))
        after = [came - out for came, out in zip(events, given, strict=True)]
        first.append(before[-1] + after[0])
        later += after[1:]
    window = [step for step in trace.steps if step[0] > min(r["sent"] for r in requests) + 0.2]
    # A pause of a tenth of a second is not the service: nothing was asked.
    gaps = [nxt[0] - now[1] for now, nxt in zip(window, window[1:], strict=False) if nxt[0] - now[1] < 0.1]
    return {
        "requests": len(requests),
        "pieces": sum(len(r["events"]) for r in requests),
        "before the engine, ms": quantiles(before),
        "first piece, ms": quantiles(first),
        "other pieces, ms": quantiles(later),
        "all pieces, ms": quantiles(first + later),
        "between steps, ms": quantiles(gaps),
        "step, ms": quantiles([until - since for since, until in window]),
    }


def measure_creates(rounds: int) -> dict:
    """4 MB of examples, as 100 and as 500 of them."""
    found = {}
    with running() as server, server.client() as client:
        for count in (100, 250, 500):
            length = 4_000_000 // count // 2 - 30
            rows = [
                {
                    "textInput": f"{n} " + "ab cd ef gh " * (length // 12),
                    "output": f"{n} " + 'xy zü é" ' * (length // 9),
                }
                for n in range(count)
            ]
            for key in ("textInput", "output"):
                for row in rows:
                    row[key] = row[key][: 40_000 if key == "textInput" else 5_000]
            body = json.dumps(
                {
                    "displayName": "large",
                    "baseModel": "models/tuningfork-small",
                    "tuningTask": {"trainingData": {"examples": {"examples": rows}}},
                }
            ).encode()
            times = []
            for _ in range(rounds):
                begin = time.perf_counter()
                answer = client.post("/v1beta/tunedModels", content=body)
                times.append(time.perf_counter() - begin)
                client.delete(
                    f"/v1beta/{answer.raise_for_status().json()['metadata']['tunedModel']}"
                ).raise_for_status()
            found[f"{count} examples, {len(body)} bytes"] = quantiles(times)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--tokens", type=int, default=48)
    parser.add_argument("--option", action="append", default=[], help="option for `tuningfork serve`")
    parser.add_argument("--only", choices=("streams", "creates"))
    arguments = parser.parse_args()
    results = {}
    if arguments.only in (None, "streams"):
        results["streams"] = measure_streams(arguments)
    if arguments.only in (None, "creates"):
        results["creates"] = measure_creates(arguments.rounds)
    print(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
