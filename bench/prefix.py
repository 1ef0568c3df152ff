"""Time to the first token of requests that begin alike: what prompts begin with is read once and kept.

    python bench/prefix.py [--rounds 5] [--threads 1]

A random model of SmolLM2-135M's shape, no adapters. Sixteen requests come at once, each with 512 tokens that it shares
with the others and 32 of its own. Ours: after an earlier request with the same 512 tokens. Beside it: the same when
nobody has asked so before, and when nothing is shared, which is what every request costs without the cache. Then the
same with one request at a time. Every round has other tokens.
"""

import argparse
import statistics
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from time import perf_counter

import torch

import children
import report
import shapes
from tuningfork.domain.generation import Sampling
from tuningfork.inference.engine import InferenceEngine, TokenRequest
from tuningfork.modeling.loading import load_base

REQUESTS, SHARED, OWN = 16, 512, 32
HOW = Sampling(temperature=0.0, top_p=1.0, top_k=None, max_output_tokens=4)

KEPT, NEW, NOTHING = report.OURS, "ours, the beginning is new", "ours, nothing shared"

CAVEATS = ("There is no peer in this table: it shows what the prefix cache saves in this engine.",)


class Prompts:
    """Random tokens, other ones each time."""

    def __init__(self, vocabulary: int) -> None:
        self._draw = Random(0)
        self._vocabulary = vocabulary

    def tokens(self, count: int) -> tuple[int, ...]:
        """So many."""
        return tuple(self._draw.randrange(10, self._vocabulary) for _ in range(count))

    def alike(self, beginning: tuple[int, ...], count: int) -> list[tuple[int, ...]]:
        """So many prompts that begin so."""
        return [(*beginning, *self.tokens(OWN)) for _ in range(count)]


def first_tokens(engine: InferenceEngine, prompts: Sequence[tuple[int, ...]]) -> list[float]:
    """Answer prompts that come all at once; milliseconds until each has a token, the earliest first."""
    begin = perf_counter()
    for number, prompt in enumerate(prompts):
        engine.add(TokenRequest(id=str(number), prompt_ids=prompt, sampling=HOW))
    found: dict[str, float] = {}
    while engine.has_work:
        for output in engine.step():
            found.setdefault(output.request_id, 1_000 * (perf_counter() - begin))
    return sorted(found.values())


def one_round(engine: InferenceEngine, prompts: Prompts, count: int) -> dict[str, list[float]]:
    """So many requests at once, in each of the three cases."""
    nothing = first_tokens(engine, [prompts.tokens(SHARED + OWN) for _ in range(count)])
    beginning = prompts.tokens(SHARED)
    new = first_tokens(engine, prompts.alike(beginning, count))
    return {KEPT: first_tokens(engine, prompts.alike(beginning, count)), NEW: new, NOTHING: nothing}


def compare(folder: Path, rounds: int) -> list[report.Row]:
    """The rows of the table."""
    shape = shapes.SMOLLM2_135M
    engine = InferenceEngine(load_base(shapes.catalog_entry(shapes.make_model(folder, shape), shape)))
    prompts = Prompts(shape.vocabulary)
    one_round(engine, prompts, 2)
    found = [{count: one_round(engine, prompts, count) for count in (REQUESTS, 1)} for _ in range(rounds)]
    return [
        row(f"{REQUESTS} requests at once, the median one", [each[REQUESTS] for each in found], statistics.median),
        row(f"{REQUESTS} requests at once, the last one", [each[REQUESTS] for each in found], max),
        row("one request", [each[1] for each in found], max),
    ]


def row(work: str, found: Sequence[dict[str, list[float]]], choose: Callable[[Sequence[float]], float]) -> report.Row:
    """What is chosen of each round's times, by case."""
    samples = {case: [choose(each[case]) for each in found] for case in (KEPT, NEW, NOTHING)}
    return report.Row(work=f"first token, {SHARED} + {OWN} tokens, {work}", unit="ms", samples=samples)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    children.pin(arguments.threads)
    torch.set_num_threads(arguments.threads)
    with tempfile.TemporaryDirectory() as folder:
        rows = compare(Path(folder), arguments.rounds)
    report.show("Beginnings that are kept", [each.as_json() for each in rows])
    report.write_result(
        "prefix",
        rows,
        title="First tokens of prompts that begin alike",
        threads=arguments.threads,
        caveats=CAVEATS,
    )


if __name__ == "__main__":
    main()
