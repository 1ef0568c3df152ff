"""What the service costs beyond its engines: streams, snapshots, large creates.

    python bench/service_overhead.py [--streams 32] [--rounds 6] [--tokens 96] [--apart] [--only streams]

**Streams.** So many streams at once over tuned models, with the real generator. Times are taken with the machine's one
monotonic clock in the client (a process of its own), in the generator's pipe and at the engine's border:

- before the engine: from the client's send to the engine's `add`, less what is left of the step that the engine is in
  when the request comes out of the pipe: that is the engine's own time.
- after the engine: for each piece of text, from the return of the engine's `step` to the client's `recv`.
- between steps: from the return of a step to the beginning of the next, while there is work: what the service takes of
  the engine's time.

A request's first piece bears the first two together, every other piece the second alone. `--apart` gives the generator
the first core, and server and client the second, as the system does by itself where nobody else is at work.

**Snapshots.** The time of a training step in a server, which records every step and whose trainer keeps a savepoint
every ten, beside the same trainer's alone, whose steps nobody records and who keeps none; turn by turn.

**Large creates.** From the first byte sent of a create with 4 MB of examples to its answer.
"""

import argparse
import itertools
import json
import os
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import psutil

import report
from bench_server import BenchServer, running, tune, tutorial_body
from tuningfork.artifacts.local import LocalArtifactStore
from tuningfork.catalog import EMBEDDED_MODEL
from tuningfork.domain.artifact import ArtifactRef
from tuningfork.domain.base_model import AdapterShape
from tuningfork.domain.hyperparameters import Hyperparameters
from tuningfork.domain.tuning_job import JobId
from tuningfork.execution.base import Stepped, TrainingAssignment
from tuningfork.execution.local.engines import LocalEngines, WorkerThreads
from tuningfork.tutorial import EXAMPLES

RECORD = struct.Struct("=cqd")
CREATE_BYTES = 4_000_000
EPOCHS = 40
MEDIAN_MS, P99_MS, CREATE_MS = 2.0, 10.0, 300.0


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
    """A model whose answers are long: it counts to thirty, whatever it is asked."""
    counting = " ".join(str(number) for number in range(1, 31))
    rows = [{"textInput": f"a{number}", "output": counting} for number in range(10, 26)]
    body = tutorial_body(rows)
    body["tuningTask"]["hyperparameters"]["epochCount"] = 6
    return tune(client, body)


def stream_once(server: BenchServer, models: list[str], arguments: argparse.Namespace) -> list[dict]:
    address = urlsplit(server.url)
    numbers = map(str, (arguments.streams, arguments.rounds, arguments.tokens))
    command = [sys.executable, Path(__file__).with_name("stream_client.py"), address.hostname, str(address.port)]
    done = subprocess.run([*command, server.key, *numbers, *models], check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


def pin(process: psutil.Process, core: int) -> None:
    for thread in process.threads():
        os.sched_setaffinity(thread.id, {core})


def measure_streams(arguments: argparse.Namespace) -> dict:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace"
        known = os.environ.get("PYTHONPATH", "")
        tracing = f"{Path(__file__).parent / 'tracing'}{os.pathsep}{known}"
        with running(environment={"PYTHONPATH": tracing, "TUNINGFORK_BENCH_TRACE": str(path)}) as server:
            with server.client() as client:
                models = [tune_long(client) for _ in range(2)]
            stream_once(server, models, argparse.Namespace(streams=4, rounds=2, tokens=8))
            process = psutil.Process(server.pid)
            if arguments.apart:
                for child in process.children():
                    pin(child, 0)
                pin(process, 1)
                os.sched_setaffinity(0, {1})
            before = sum(process.cpu_times()[:2])
            requests = stream_once(server, models, arguments)
            cpu = sum(process.cpu_times()[:2]) - before
        if arguments.apart:
            os.sched_setaffinity(0, range(os.cpu_count() or 1))
        found = evaluated(Trace(path), requests)
        return found | {"server's processor time a piece, us": 1e6 * cpu / found["pieces"]}


def evaluated(trace: Trace, requests: list[dict]) -> dict:
    first, later, before, way = [], [], [], []
    for request in requests:
        seed, sent, events = request["seed"], request["sent"], request["events"]
        given = trace.given[seed]
        if len(given) != len(events):
            raise SystemExit(f"request {seed}: the engine gave {len(given)} pieces, {len(events)} came")
        taken, added = trace.taken[seed], trace.added[seed]
        before.append(added - sent - trace.stepping(taken, added))
        way.append(taken - sent)
        after = [came - out for came, out in zip(events, given, strict=True)]
        first.append(before[-1] + after[0])
        later += after[1:]
    window = [step for step in trace.steps if step[0] > min(r["sent"] for r in requests) + 0.2]
    # A pause of a tenth of a second is not the service: nothing was asked.
    gaps = [nxt[0] - now[1] for now, nxt in itertools.pairwise(window) if nxt[0] - now[1] < 0.1]
    return {
        "requests": len(requests),
        "pieces": len(first) + len(later),
        "before the engine": before,
        "from client to generator": way,
        "first pieces": first,
        "other pieces": later,
        "between steps": gaps,
        "steps": [until - since for since, until in window],
    }


def trained_in_server(client: httpx.Client) -> list[float]:
    """Seconds between the steps of one job, as the snapshots of its model say."""
    body = tutorial_body()
    body["tuningTask"]["hyperparameters"]["epochCount"] = EPOCHS
    name = tune(client, body)
    snapshots = client.get(f"/v1beta/{name}").raise_for_status().json()["tuningTask"]["snapshots"]
    client.delete(f"/v1beta/{name}").raise_for_status()
    return between([datetime.fromisoformat(each["computeTime"]) for each in snapshots])


def trained_alone(engines: LocalEngines, number: int, store: LocalArtifactStore) -> list[float]:
    """The same of a job whose steps nobody records."""
    dataset = ArtifactRef(f"datasets/{number}.jsonl")
    rows = ({"text_input": text_input, "output": output} for text_input, output in EXAMPLES)
    with store.writing(dataset) as path:
        path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    assignment = TrainingAssignment(
        job_id=JobId(str(number)),
        base=EMBEDDED_MODEL,
        dataset=dataset,
        work=ArtifactRef(f"work/{number}"),
        hyperparameters=Hyperparameters(
            epoch_count=EPOCHS, batch_size=4, learning_rate=0.001, learning_rate_multiplier=None
        ),
        adapter=AdapterShape(rank=EMBEDDED_MODEL.adapter.rank, alpha=EMBEDDED_MODEL.adapter.alpha),
        seed=1,
        savepoint_every=0,
    )
    events = engines.trainers.train(assignment)
    return between([event.snapshot.compute_time for event in events if isinstance(event, Stepped)])


def between(moments: list[datetime]) -> list[float]:
    return [(later - earlier).total_seconds() for earlier, later in itertools.pairwise(moments)]


def measure_snapshots(rounds: int) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {"recorded": [], "alone": []}
    threads = int(os.environ.get("TUNINGFORK_TRAINER_THREADS", "1"))
    with tempfile.TemporaryDirectory() as name, running() as server, server.client() as client:
        artifacts = Path(name)
        engines = LocalEngines.build(threads=WorkerThreads(trainer=threads, generator=1), artifacts=artifacts)
        tune(client)
        for number in range(rounds + 1):
            recorded, alone = trained_in_server(client), trained_alone(engines, number, LocalArtifactStore(artifacts))
            # The first warms up.
            if number:
                found["recorded"].append(statistics.mean(recorded))
                found["alone"].append(statistics.mean(alone))
        engines.close()
    return found


def measure_creates(rounds: int) -> dict[int, list[float]]:
    """By the number of examples that 4 MB are: each the first of a server, whose trainer is not at work yet."""
    found: dict[int, list[float]] = {}
    for count in (100, 250, 500):
        found[count] = []
        body = create_of(count)
        for _ in range(rounds):
            with running() as server, server.client() as client:
                client.get("/v1beta/tunedModels").raise_for_status()
                begin = time.perf_counter()
                answer = client.post("/v1beta/tunedModels", content=body)
                found[count].append(time.perf_counter() - begin)
                name = answer.raise_for_status().json()["metadata"]["tunedModel"]
                client.delete(f"/v1beta/{name}").raise_for_status()
    return found


def create_of(count: int) -> bytes:
    """A create with so many examples of texts of all kinds, 4 MB in all."""
    text = 'Zahlen zählen: one, two "three" 四 five\n' * 2_000
    share = (CREATE_BYTES - 1_000) // count
    rows = []
    for number in range(count):
        row = {"textInput": f"{number} ", "output": text[: min(4_000, share // 4)]}
        left = share - len(json.dumps(row)) - 2
        row["textInput"] += "to be continued " * (left // 16)
        rows.append(row)
    return json.dumps(tutorial_body(rows)).encode()


def rows_of_streams(arguments: argparse.Namespace) -> list[report.Row]:
    found = measure_streams(arguments)
    facts = {
        f"{what}, ms": ", ".join(f"{name} {value:.2f}" for name, value in quantiles(found[what]).items())
        for what in ("before the engine", "from client to generator", "first pieces", "between steps", "steps")
    }
    facts |= {name: round(found[name]) for name in ("requests", "pieces", "server's processor time a piece, us")}
    pieces = [1000 * each for each in (*found["first pieces"], *found["other pieces"])]
    what = f"beyond the engine's own time, {arguments.streams} streams"
    p99 = sorted(pieces)[int(len(pieces) * 0.99)]
    return [
        report.Row(
            work=f"{what}: the median piece",
            unit="ms",
            samples={report.OURS: [statistics.median(pieces)]},
            wanted=f"at most {MEDIAN_MS:g} ms",
            at_most=MEDIAN_MS,
            facts=facts,
        ),
        report.Row(
            work=f"{what}: 99 of 100 pieces",
            unit="ms",
            samples={report.OURS: [p99]},
            wanted=f"at most {P99_MS:g} ms",
            at_most=P99_MS,
        ),
    ]


def rows_of_snapshots(rounds: int) -> list[report.Row]:
    found = {name: [1000 * each for each in times] for name, times in measure_snapshots(rounds).items()}
    return [
        report.Row(
            work="a training step whose snapshot is stored, a savepoint every tenth (mean of a job)",
            unit="ms",
            samples={report.OURS: found["recorded"], "the same step, nothing stored": found["alone"]},
            wanted="no slower",
        )
    ]


def rows_of_creates(rounds: int) -> list[report.Row]:
    return [
        report.Row(
            work=f"a create of 4 MB, {count} examples, to its answer",
            unit="ms",
            samples={report.OURS: [1000 * each for each in times]},
            wanted=f"at most {CREATE_MS:g} ms",
            at_most=CREATE_MS,
        )
        for count, times in measure_creates(rounds).items()
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--tokens", type=int, default=96)
    parser.add_argument("--apart", action="store_true", help="generator on core 0, server and client on core 1")
    parser.add_argument("--only", choices=("streams", "snapshots", "creates"))
    arguments = parser.parse_args()
    rows: list[report.Row] = []
    if arguments.only in (None, "streams"):
        rows += rows_of_streams(arguments)
    if arguments.only in (None, "snapshots"):
        rows += rows_of_snapshots(arguments.rounds)
    if arguments.only in (None, "creates"):
        rows += rows_of_creates(arguments.rounds)
    report.show("service overhead", [row.as_json() for row in rows])
    if arguments.only is None:
        report.write_result("service_overhead", rows, title="What the service costs beyond its engines")


if __name__ == "__main__":
    main()
