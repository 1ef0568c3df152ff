"""Generated tokens a second side by side: our engine, vLLM and transformers, on the same prompts and adapters."""

import os
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import peers
import precision
import processors
import shapes
from children import Child, Company, by_processor_time, company
from children import rounds as rounds_of
from report import OURS, Row, other_time

VLLM_ADAPTERS = "vLLM, made for adapters"
VLLM_PLAIN = "vLLM, made without adapters"
TRANSFORMERS = "transformers"
PROMPT_TOKENS = 48
NEW_TOKENS = 64
STREAMS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """So many streams spread over so many adapters; who takes part, and over how many adapters each spreads them."""

    name: str
    streams: int
    takers: dict[str, int]


TASKS = (
    Task(name="mixed", streams=STREAMS, takers={OURS: STREAMS, VLLM_ADAPTERS: STREAMS, TRANSFORMERS: 1}),
    Task(name="plain", streams=STREAMS, takers={OURS: 0, VLLM_PLAIN: 0, TRANSFORMERS: 0}),
    Task(name="one", streams=1, takers={OURS: 0, VLLM_PLAIN: 0, TRANSFORMERS: 0}),
    Task(name="one adapted", streams=1, takers={OURS: 1, VLLM_ADAPTERS: 1, TRANSFORMERS: 1}),
)


@dataclass(frozen=True, slots=True)
class Pace:
    """What one round took: its tokens, seconds by the clock, and seconds of processor time (0 on a GPU)."""

    tokens: int
    seconds: float
    processor: float


Paces = dict[str, dict[str, list[Pace]]]
"""Of each round, by task and by who took part."""


def compare(
    shape: shapes.ModelShape,
    model: Path,
    folder: Path,
    *,
    rounds: int,
    device: str = "cpu",
    install: bool = True,
    only: str = "",
    new_tokens: int = NEW_TOKENS,
) -> tuple[list[Row], dict[str, dict[str, str]]]:
    """The rows and the versions of the peers' packages, on a model of that shape; see `training.compare`."""
    adapters = [str(path) for path in shapes.make_adapters(folder / "adapters", shape, model, STREAMS)]
    print(f"\ndecoding, {shape.name} shape", flush=True)
    with company() as met:
        _invite(met, str(model), adapters, device=device, install=install, only=only)
        paces: Paces = {task.name: {} for task in TASKS}
        # The first round warms everybody up and is not kept.
        met.round(-1, _asker(shape, device, -1, new_tokens, paces))
        for index in rounds_of(rounds):
            met.round(index, _asker(shape, device, index, new_tokens, paces))
            print(f"  round {index + 1} of {rounds}", flush=True)
        for taken in paces.values():
            for label in [label for label in taken if label in met.missing]:
                del taken[label]
        return rows(shape, paces, [*met.notes(), *precision.notes(device)], new_tokens, device), met.versions()


def paced_row(work: str, taken: Mapping[str, Sequence[Pace]], device: str, **more: Any) -> Row:
    """Tokens a second of everybody, by processor time where that is what counts; the ratio by the other clock beside.

    `more` is what else the row has; its `facts` are added to.
    """
    processor = {label: [each.processor for each in paces] for label, paces in taken.items()}
    seconds = {label: [each.seconds for each in paces] for label, paces in taken.items()}
    tokens = {label: [each.tokens for each in paces] for label, paces in taken.items()}
    if by_processor_time(device):
        unit, shown, facts = "tokens a second of processor time", processor, other_time("by the clock", seconds)
    else:
        unit, shown = "tokens/s", seconds
        facts = other_time("by processor time", processor) if device == "cpu" else {}
    samples = {
        label: [count / took for count, took in zip(tokens[label], shown[label], strict=True)] for label in taken
    }
    more["facts"] = facts | more.get("facts", {})
    return Row(work=work, unit=unit, more_is_better=True, samples=samples, **more)


def pace_of(answer: Mapping[str, Any], device: str) -> Pace:
    """What a child says of a round."""
    return Pace(answer["tokens"], answer["seconds"], answer["processor"] if device == "cpu" else 0.0)


def rows(shape: shapes.ModelShape, paces: Paces, notes: Sequence[str], new_tokens: int, device: str) -> list[Row]:
    """The comparisons that were asked for."""
    mixed, plain, one, adapted = (paces[task.name] for task in TASKS)
    length = f"{PROMPT_TOKENS} + {new_tokens} tokens"

    def row(work: str, taken: dict[str, list[Pace]], wanted: str = "", **ratios: float) -> Row:
        named = {_FULL_NAMES.get(label, label): ratio for label, ratio in ratios.items()}
        wanted_ratios = {label: ratio for label, ratio in named.items() if label in taken}
        how = {"wanted": wanted, "wanted_ratios": wanted_ratios, "notes": notes}
        return paced_row(f"{shape.name} shape: {work}", taken, device, **how)

    beside = {
        OURS: mixed[OURS],
        **_labelled(mixed, VLLM_ADAPTERS, "vLLM, 16 adapters"),
        **_labelled(mixed, TRANSFORMERS, "transformers + PEFT, one adapter for all"),
    }
    return [
        row(
            f"16 streams of {length}, 16 adapters",
            beside,
            "at least 5 x vLLM's CPU build and 2 x transformers + PEFT",
            vllm=5.0,
            peft=2.0,
        ),
        row(
            f"16 streams of {length}, 16 adapters, beside our own without adapters",
            {OURS: mixed[OURS], "ours, no adapter": plain[OURS]},
            "at least 0.9 x our own batch without adapters",
            plain=0.9,
        ),
        row(f"16 streams of {length}, no adapter", {_short(label): values for label, values in plain.items()}),
        row(
            f"one stream of {length}, no adapter",
            {_short(label): values for label, values in one.items()},
            "at least 1.5 x transformers, eager",
            transformers=1.5,
        ),
        row(
            f"one stream of {length}, one adapter",
            {
                OURS: adapted[OURS],
                **_labelled(adapted, VLLM_ADAPTERS, "vLLM"),
                **_labelled(adapted, TRANSFORMERS, "transformers + PEFT"),
            },
        ),
    ]


_FULL_NAMES = {
    "vllm": "vLLM, 16 adapters",
    "peft": "transformers + PEFT, one adapter for all",
    "plain": "ours, no adapter",
    "transformers": "transformers, eager",
}


def _labelled(taken: dict[str, list[Pace]], label: str, name: str) -> dict[str, list[Pace]]:
    return {name: taken[label]} if label in taken else {}


def _short(label: str) -> str:
    return {VLLM_PLAIN: "vLLM", TRANSFORMERS: "transformers, eager"}.get(label, label)


def _asker(
    shape: shapes.ModelShape, device: str, index: int, new_tokens: int, paces: Paces
) -> Callable[[str, Child], None]:
    # Other prompts in each round: whoever keeps what it has read gains nothing by it.
    draw = random.Random(f"prompts {index}")
    words = range(16, shape.vocabulary)
    prompts = {task.name: [draw.choices(words, k=PROMPT_TOKENS) for _ in range(task.streams)] for task in TASKS}

    def ask(label: str, child: Child) -> None:
        for task in TASKS:
            if label not in task.takers:
                continue
            answer = child.ask("round", prompts=prompts[task.name], new_tokens=new_tokens, adapters=task.takers[label])
            if answer["tokens"] != task.streams * new_tokens:
                raise SystemExit(f"{label} wrote {answer['tokens']} tokens, not {task.streams * new_tokens}")
            if index >= 0:
                paces[task.name].setdefault(label, []).append(pace_of(answer, device))

    return ask


def _invite(met: Company, model: str, adapters: list[str], *, device: str, install: bool, only: str) -> None:
    setup: dict[str, Any] = {
        "device": device,
        "dtype": precision.native(device),
        "model": model,
        "adapters": adapters,
        "rank": shapes.ADAPTER.rank,
        "streams": STREAMS,
        "context_tokens": shapes.CONTEXT_TOKENS,
    }

    def vllm(chosen: list[str]) -> Child:
        if processors.kind_of(processors.facts()) == processors.AVX2_EMULATED:
            raise peers.PeerMissing("nothing holds vLLM's own products to AVX2")
        python = peers.python_of("vllm", install=install)
        return Child("decode_vllm.py", setup | {"adapters": chosen}, python=python, environment=vllm_environment())

    if met.invite(OURS, lambda: Child("decode_ours.py", setup)) is None:
        raise SystemExit(f"our own engine did not start: {met.missing[OURS]}")
    starts: dict[str, Callable[[], Child]] = {
        VLLM_ADAPTERS: lambda: vllm(adapters),
        VLLM_PLAIN: lambda: vllm([]),
        TRANSFORMERS: lambda: Child("decode_transformers.py", setup),
    }
    for label, start in starts.items():
        if only in label:
            met.invite(label, start)


def vllm_environment() -> dict[str, str]:
    """What vLLM's page on CPUs recommends to set, on everybody's cores; its caches stay with its packages."""
    cores = sorted(os.sched_getaffinity(0))
    caches = peers.KEPT / "vllm-cache"
    return {
        "VLLM_CPU_KVCACHE_SPACE": "2",
        "VLLM_CPU_OMP_THREADS_BIND": ",".join(map(str, cores)),
        "VLLM_CACHE_ROOT": str(caches),
        "TORCHINDUCTOR_CACHE_DIR": str(caches / "inductor"),
    }
