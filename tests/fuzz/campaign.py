"""Sends mutated requests to a server and says what it did wrong: an answer of 5xx, another error shape, lost memory.

    python tests/fuzz/campaign.py --requests 100000

Everything follows from the seed, so a fault can be sent again: `--seed S --only N`.
"""

import argparse
import http.client
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import psutil

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from fuzz.mutations import mutate, target_of
from fuzz.samples import Sample, samples
from surroundings import forget_settings
from tuningfork.domain.errors import Code

CODES = {code.name for code in Code}


@dataclass(slots=True)
class Report:
    """What a campaign saw."""

    statuses: Counter[int] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    resident_mib: list[float] = field(default_factory=list)

    def growth_mib(self) -> float:
        """How much the server's memory grew over the second half of the campaign, when it is warm."""
        half = self.resident_mib[len(self.resident_mib) // 2 :]
        return half[-1] - half[0]


@contextmanager
def running_target(directory: Path) -> Iterator[tuple[subprocess.Popen[bytes], dict[str, Any]]]:
    """The application under fire in a process of its own, and where it listens."""
    here = Path(__file__)
    known = os.environ.get("PYTHONPATH", "")
    tests = here.parents[1]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tests), str(tests / "support"), known])}
    with (
        (directory / "target.log").open("wb") as log,
        subprocess.Popen(
            [sys.executable, here.with_name("target.py"), directory],
            stdout=subprocess.PIPE,
            stderr=log,
            env=environment,
        ) as process,
    ):
        try:
            told = process.stdout.readline()
            if not told:
                raise RuntimeError(f"The server did not start:\n{(directory / 'target.log').read_text()}")
            yield process, json.loads(told)
        finally:
            process.terminate()


def fire(requests: int, seed: int, *, only: int | None = None, say: Any = lambda _line: None) -> Report:
    """Send so many mutated requests; request N of a seed is always the same one."""
    report = Report()
    with tempfile.TemporaryDirectory() as directory, running_target(Path(directory)) as (process, facts):
        right = samples(facts["permission"], facts["operations"])
        memory = psutil.Process(process.pid)
        connection = http.client.HTTPConnection("127.0.0.1", facts["port"], timeout=300)
        numbers = range(requests) if only is None else (only,)
        for number in numbers:
            random = Random(f"{seed}/{number}")
            sample = mutate(random, random.choice(right))
            fault = _fault(connection, sample, facts["keys"], report)
            if fault is not None:
                report.faults.append(f"#{number} {sample.verb} {target_of(sample)[:200]} {_shown(sample)}: {fault}")
            if number % max(1, requests // 40) == 0:
                report.resident_mib.append(memory.memory_info().rss / 2**20)
                say(f"{number}: {report.resident_mib[-1]:.1f} MiB, {len(report.faults)} faults")
        connection.close()
        if process.poll() is not None:
            report.faults.append(f"the server ended with {process.returncode}")
    return report


def _fault(connection: http.client.HTTPConnection, sample: Sample, keys: dict[str, str], report: Report) -> str | None:
    """What was wrong with the answer to this request, or None."""
    body = sample.body if sample.body is None or isinstance(sample.body, bytes) else json.dumps(sample.body).encode()
    key = keys.get(sample.key, sample.key)
    headers = {**({"x-goog-api-key": key.encode()} if key else {}), **dict(sample.headers)}
    try:
        connection.request(sample.verb, target_of(sample), body, headers)
        answer = connection.getresponse()
        content = answer.read()
    except (http.client.HTTPException, OSError) as error:
        connection.close()
        return f"no answer: {type(error).__name__}: {error}"
    report.statuses[answer.status] += 1
    if answer.status >= 500:
        return f"{answer.status}: {content[:300]!r}"
    if sample.verb == "HEAD" or answer.status == 200:
        return None
    return _fault_of_shape(answer.status, answer.getheader("content-type", ""), content)


def _fault_of_shape(status: int, content_type: str, content: bytes) -> str | None:
    """An error is `{"error": {"code", "message", "status"[, "details"]}}`, and its code is the HTTP status."""
    try:
        told = json.loads(content)["error"]
        sound = (
            told["code"] == status
            and told["status"] in CODES
            and told["message"]
            and content_type.startswith("application/json")
            and all(detail["@type"].startswith("type.googleapis.com/") for detail in told.get("details", ()))
            and set(told) <= {"code", "message", "status", "details", "errors"}
        )
    except (ValueError, KeyError, TypeError):
        sound = False
    return None if sound else f"{status} is not the one error shape: {content[:300]!r}"


def _shown(sample: Sample) -> str:
    body = sample.body if isinstance(sample.body, bytes) else json.dumps(sample.body).encode()
    return f"{dict(sample.headers)} {body[:300]!r}"


def main() -> None:
    forget_settings()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", type=int)
    options = parser.parse_args()
    began = time.monotonic()
    report = fire(options.requests, options.seed, only=options.only, say=lambda line: print(line, flush=True))
    print(f"{sum(report.statuses.values())} answers in {time.monotonic() - began:.0f} s")
    print("statuses:", dict(sorted(report.statuses.items())))
    if options.only is None:
        print(f"memory: {report.resident_mib[0]:.1f} MiB, {report.growth_mib():+.1f} MiB over the second half")
    print(*report.faults[:50], sep="\n")
    print(len(report.faults), "faults")
    sys.exit(bool(report.faults))


if __name__ == "__main__":
    main()
