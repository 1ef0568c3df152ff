"""Tokens a second of our engine beside llama.cpp, on SmolLM2's real weights.

    python bench/beside_llama_cpp.py [--rounds 3] [--threads 1] [--only q8_0]

One stream of 48 prompt and 64 new tokens, without and with an adapter; sixteen of them; prompts of 512 and 4,096 tokens
read up to their first new token. llama.cpp gets the same weights as GGUF files in f16 and q8_0, and one adapter for
all of its streams, since its batches have no more; ours gives each stream another one. Everybody is greedy. Also shown
is how far llama.cpp's greedy answers are token for token ours.
"""

import argparse
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import children
import decoding
import gguf_models
import peers
import precision
import real_base
import report
import shapes
from children import Child, Company, company
from decoding import NEW_TOKENS, PROMPT_TOKENS, STREAMS, Pace, paced_row
from report import OURS, Row

F16, Q8_0 = "llama.cpp, f16", "llama.cpp, q8_0"
KINDS = {F16: gguf_models.F16, Q8_0: gguf_models.Q8_0}
READ_TOKENS = (512, 4_096)
AGREEMENT_PROMPTS, AGREEMENT_TOKENS = 8, 32
QUICK_PROMPTS = 2
WARM_TOKENS = 4
WITH_ONE = "one adapter for all"
OUR_BASE = "ours, no adapter"


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """So many streams of so many tokens, over so many adapters of ours; llama.cpp takes one for all, or none."""

    work: str
    streams: int = 1
    read: int = PROMPT_TOKENS
    new: int = NEW_TOKENS
    adapters: int = 0
    wanted: float | None = None
    """How many times better than llama.cpp's f16 ours is to be."""


def tasks(*, new_tokens: int = NEW_TOKENS, read: Sequence[int] = READ_TOKENS) -> list[Task]:
    """What is measured, in the page's order."""
    length = f"{PROMPT_TOKENS} + {new_tokens} tokens"
    streams: dict[str, Any] = {"streams": STREAMS, "new": new_tokens}
    return [
        Task(work=f"one stream of {length}, no adapter", new=new_tokens, wanted=1.0),
        Task(work=f"one stream of {length}, one adapter", new=new_tokens, adapters=1, wanted=1.5),
        Task(work=f"16 streams of {length}, no adapter", **streams),
        Task(work=f"16 streams of {length}, 16 adapters", adapters=STREAMS, wanted=1.0, **streams),
        *(Task(work=f"reading a prompt of {count:,} tokens", read=count, new=1, wanted=1.0) for count in read),
    ]


Paces = dict[str, dict[str, list[Pace]]]
"""Of each round, by the task's work and by who took part."""


def compare(
    base: Path,
    folder: Path,
    *,
    rounds: int,
    threads: int,
    given: Sequence[Task],
    shape: shapes.ModelShape = real_base.SHAPE,
    agreement: int = AGREEMENT_PROMPTS,
    install: bool = True,
    only: str = "",
) -> tuple[list[Row], dict[str, dict[str, str]]]:
    """A row for each task, and the versions of llama.cpp's packages. `shape` is the base's; see `training.compare`.

    `agreement` is the number of prompts whose greedy answers are compared.
    """
    adapters = shapes.make_adapters(folder / "adapters", shape, base, STREAMS)
    text = real_base.Text(base)
    print(f"\nbeside llama.cpp, {base.name}", flush=True)
    with company() as met:
        _invite(met, base, folder, adapters, threads=threads, given=given, install=install, only=only)
        same = _agreement(met, text, agreement)
        paces: Paces = {task.work: {} for task in given}
        # Warms everybody up, and is not kept.
        short = [replace(task, new=min(task.new, WARM_TOKENS)) for task in given if task.read <= READ_TOKENS[0]]
        met.round(0, _asker(short, text, "warm", {}))
        for index in children.rounds(rounds):
            met.round(index, _asker(given, text, f"round {index}", paces))
            print(f"  round {index + 1} of {rounds}", flush=True)
        for taken in paces.values():
            for label in met.missing:
                taken.pop(label, None)
        return rows(given, paces, same, [*met.notes(), *precision.notes("cpu")]), met.versions()


def rows(
    given: Sequence[Task], paces: Paces, same: Mapping[bool, Mapping[str, str]], notes: Sequence[str]
) -> list[Row]:
    """One for each task, and one for our sixteen adapters beside our own base."""
    made = []
    for task in given:
        taken = paces[task.work]
        named = {_named(label, task): each for label, each in taken.items()}
        wanted = {_named(F16, task): task.wanted} if task.wanted and F16 in taken else {}
        goal = f"at least {task.wanted:g} x llama.cpp's f16" if task.wanted else ""
        facts = same[bool(task.adapters)] if task.streams == 1 and task.new > 1 else {}
        how: dict[str, Any] = {"wanted": goal, "wanted_ratios": wanted, "facts": facts, "notes": notes}
        made.append(paced_row(f"{real_base.NAME}: {task.work}", named, "cpu", **how))
    mixed = next(task for task in given if task.adapters > 1)
    plain = next(task for task in given if task.streams > 1 and not task.adapters)
    beside = {OURS: paces[mixed.work][OURS], OUR_BASE: paces[plain.work][OURS]}
    goal = "at least 0.9 x our own batch without adapters"
    work = f"{real_base.NAME}: {mixed.work}, beside our own without adapters"
    return [*made, paced_row(work, beside, "cpu", wanted=goal, wanted_ratios={OUR_BASE: 0.9}, notes=notes)]


def _named(label: str, task: Task) -> str:
    return label if label == OURS or task.adapters < 2 else f"{label}, {WITH_ONE}"


def _asker(given: Sequence[Task], text: real_base.Text, seed: str, paces: Paces) -> Callable[[str, Child], None]:
    prompts = {task.work: text.prompts(task.streams, task.read, f"{seed}, {task.work}") for task in given}

    def ask(label: str, child: Child) -> None:
        for task in given:
            adapters = task.adapters if label == OURS else min(task.adapters, 1)
            answer = child.ask("round", prompts=prompts[task.work], new_tokens=task.new, adapters=adapters)
            if answer["tokens"] != task.streams * task.new:
                raise SystemExit(f"{label} wrote {answer['tokens']} tokens, not {task.streams * task.new}")
            if task.new == 1:
                # What counts are the tokens that were read.
                answer["tokens"] = task.read
            paces.setdefault(task.work, {}).setdefault(label, []).append(decoding.pace_of(answer, "cpu"))

    return ask


def _agreement(met: Company, text: real_base.Text, count: int) -> dict[bool, dict[str, str]]:
    """How many tokens at the beginning of greedy answers are ours, without and with an adapter."""
    prompts = text.prompts(count, PROMPT_TOKENS, "agreement")
    found: dict[bool, dict[str, str]] = {}
    for adapters in (0, 1):
        answers: dict[str, list[list[int]]] = {}

        def ask(label: str, child: Child, chosen: int = adapters, into: dict[str, Any] = answers) -> None:
            asked = child.ask("answers", prompts=prompts, new_tokens=AGREEMENT_TOKENS, adapters=chosen)
            into[label] = asked["answers"]

        met.round(0, ask)
        found[bool(adapters)] = {
            f"greedy tokens of {label} that are ours, of {AGREEMENT_TOKENS}, up to the first other one": ", ".join(
                str(alike(ours, theirs)) for ours, theirs in zip(answers[OURS], given, strict=True)
            )
            for label, given in answers.items()
            if label != OURS
        }
    return found


def alike(ours: Sequence[int], theirs: Sequence[int]) -> int:
    """How many tokens at the beginning are the same."""
    pairs = enumerate(zip(ours, theirs, strict=True))
    return next((place for place, (one, other) in pairs if one != other), len(ours))


def _invite(
    met: Company,
    base: Path,
    folder: Path,
    adapters: Sequence[Path],
    *,
    threads: int,
    given: Sequence[Task],
    install: bool,
    only: str,
) -> None:
    ours = {
        "device": "cpu",
        "model": str(base),
        "adapters": [str(each) for each in adapters],
        "context_tokens": shapes.CONTEXT_TOKENS,
    }
    if met.invite(OURS, lambda: Child("decode_ours.py", ours)) is None:
        raise SystemExit(f"our own engine did not start: {met.missing[OURS]}")

    def llama_cpp(kind: str) -> Child:
        python = peers.python_of(peers.llama_cpp(), install=install)
        setup = {
            "file": str(gguf_models.kept_model(peers.KEPT / "models", base, kind)),
            "adapter": str(gguf_models.write_adapter(folder / f"{kind}-adapter.gguf", adapters[0], base)),
            "threads": threads,
            "streams": STREAMS,
            "stream_tokens": max(task.read + task.new for task in given if task.streams > 1) + 16,
            "longest": max(task.read + task.new for task in given if task.streams == 1) + 16,
        }
        return Child("decode_llama_cpp.py", setup, python=python)

    for label, kind in KINDS.items():
        if only in label:
            met.invite(label, lambda kind=kind: llama_cpp(kind))


CAVEATS = (
    "llama.cpp is used through its C interface, compiled for this processor, with its defaults, such as keys in f16.",
    "llama.cpp rounds activations: to f16 beside f16 weights, to blocks of 8 bits beside q8_0.",
    "A batch of llama.cpp has one set of adapters for all sequences: its easier task stands beside our harder one.",
    "Prompts are cut from the training data in examples/data. Answers do not end before their length.",
    "Our processes start as the service's workers do, which ask glibc for large pages; peers start as they usually do.",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--new-tokens", type=int, default=NEW_TOKENS, help=f"of each answer; default: {NEW_TOKENS}")
    parser.add_argument(
        "--prompts",
        type=int,
        default=AGREEMENT_PROMPTS,
        help=f"whose answers are compared; default: {AGREEMENT_PROMPTS}",
    )
    parser.add_argument("--only", default="", help="only peers whose name contains this; writes no result")
    children.add_quick(parser)
    arguments = parser.parse_args()
    children.begin(arguments)
    try:
        base = real_base.directory(install=not arguments.quick)
    except real_base.NoBase as error:
        raise SystemExit(f"not measured beside llama.cpp: no {real_base.NAME}: {error}") from error
    with tempfile.TemporaryDirectory() as folder:
        made, versions = compare(
            base,
            Path(folder),
            rounds=arguments.rounds,
            threads=arguments.threads,
            given=tasks(new_tokens=16, read=READ_TOKENS[:1])
            if arguments.quick
            else tasks(new_tokens=arguments.new_tokens),
            agreement=QUICK_PROMPTS if arguments.quick else arguments.prompts,
            install=not arguments.quick,
            only=arguments.only,
        )
    report.show("Beside llama.cpp", [row.as_json() for row in made])
    if not (arguments.only or arguments.quick):
        title = "Beside llama.cpp, on real weights"
        report.write_result(
            "llama_cpp", made, title=title, threads=arguments.threads, versions=versions, caveats=CAVEATS
        )


if __name__ == "__main__":
    main()
