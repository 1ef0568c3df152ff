"""The memory that a real base takes in the trainer and the generator together, beside its weights in two bytes.

    python bench/memory.py [--base NAME=DIRECTORY] [--weights int8]

Proportional set sizes (PSS) after a tuning job and an answer on a warm server: what both processes share counts once.
The same is measured with the embedded base alone, a thousandth as large: so much is Python, torch and the rest of the
program. What the real base adds to it is compared with its weights, two bytes each.
"""

import argparse
import math
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
from safetensors import safe_open

import real_base
import report
from bench_server import BenchServer, running, tune, tutorial_body
from tuningfork.catalog import EMBEDDED_MODEL

AT_MOST = 1.3
ROLES = ("trainer", "generator")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", help="NAME=DIRECTORY; default: SmolLM2, as `make smollm2` fetches it")
    parser.add_argument(
        "--weights", default="stored", help="as of `tuningfork serve`; other than stored writes no result"
    )
    arguments = parser.parse_args()
    chosen = arguments.base
    try:
        chosen = chosen or f"{real_base.NAME}={real_base.directory()}"
    except real_base.NoBase as error:
        raise SystemExit(f"memory was not measured: no {real_base.NAME}: {error}") from error
    name, _, location = chosen.partition("=")
    weights = weight_count(Path(location))
    small = after_work(EMBEDDED_MODEL.name, "--weights", arguments.weights)
    large = after_work(f"models/{name}", "--base-model", chosen, "--weights", arguments.weights)
    row = compared(name, weights, small=small, large=large)
    report.show("Memory", [row.as_json()])
    if arguments.weights == "stored":
        report.write_result("memory", [row], title="Memory of the two workers", caveats=CAVEATS)


CAVEATS = (
    "Of each worker with the processes that it has started for rendering. The server's own process is not counted.",
    "Memory of the pages for keys and values, of optimizers and of adapters is in it, as far as the work took some.",
)


def compared(name: str, weights: int, *, small: dict[str, float], large: dict[str, float]) -> report.Row:
    """The row, of megabytes by role after the same work on the embedded base and on the real one."""
    two_bytes = 2 * weights / 1e6
    added = sum(large.values()) - sum(small.values())
    return report.Row(
        work=f"{name}: what the base adds to both workers",
        unit="x its weights in two bytes",
        samples={report.OURS: [added / two_bytes]},
        wanted=f"at most {AT_MOST:g} x the weights in two bytes",
        at_most=AT_MOST,
        facts={
            "weights in two bytes, MB": round(two_bytes),
            **{f"{role} with {name}, MB": round(large[role]) for role in ROLES},
            **{f"{role} with the embedded base, MB": round(small[role]) for role in ROLES},
        },
    )


def after_work(base: str, *options: str) -> dict[str, float]:
    """The proportional set size of each worker in megabytes, after it has tuned the base and answered."""
    with running(*options) as server, server.client() as client:
        tuned = tune(client, tutorial_body(baseModel=base))
        for model in (base, tuned):
            _ask(client, model)
        return dict(_sizes(server))


def _ask(client: httpx.Client, model: str) -> None:
    body = {"contents": [{"parts": [{"text": "LXIII"}]}], "generationConfig": {"maxOutputTokens": 32}}
    client.post(f"/v1beta/{model}:generateContent", json=body).raise_for_status()


def _sizes(server: BenchServer) -> Iterator[tuple[str, float]]:
    for worker in psutil.Process(server.pid).children():
        words = " ".join(worker.cmdline())
        for role in ROLES:
            if f"{role}_process" in words:
                family = [worker, *worker.children(recursive=True)]
                yield role, sum(each.memory_full_info().pss for each in family) / 1e6


def weight_count(directory: Path) -> int:
    """How many numbers a base's safetensors hold."""
    total = 0
    for path in directory.glob("*.safetensors"):
        with safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118  it is not a mapping
                total += math.prod(file.get_slice(name).get_shape())
    return total


if __name__ == "__main__":
    main()
