"""Tuning steps side by side: one engine of ours, TRL and plain PEFT loops, on the same data from the same adapter."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import peers
import precision
from children import Child, Company, by_processor_time, company
from children import rounds as rounds_of
from report import OURS, Row, other_time
from tuningfork.domain.base_model import AdapterShape
from tuningfork.domain.dataset import Examples

TRL_DEFAULTS = "TRL, defaults"
TRL_BY_HAND = "TRL, tuned by hand"
PEFT_FLOAT32 = "PEFT in a plain loop, float32"
PEFT_BFLOAT16 = "PEFT in a plain loop, bfloat16"
WARM_UP_STEPS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """One job as everybody gets it. `model` is a directory; `ours` what our engine is given in its place."""

    name: str
    model: Path
    examples: Examples
    batch_size: int
    steps_a_round: int
    adapter: AdapterShape
    ours: str = ""
    learning_rate: float = 0.001
    seed: int = 1
    wanted: str = ""
    wanted_ratios: Mapping[str, float] | None = None


def common_setup(work: Work, device: str) -> dict[str, Any]:
    """What every child is told."""
    return {
        "device": device,
        "dtype": precision.native(device),
        "model": str(work.model),
        "batch_size": work.batch_size,
        "learning_rate": work.learning_rate,
        "rank": work.adapter.rank,
        "alpha": int(work.adapter.alpha),
        "seed": work.seed,
    }


def ours_setup(work: Work, device: str) -> dict[str, Any]:
    """What our own child is told."""
    pairs = [example.as_pair() for example in work.examples]
    return common_setup(work, device) | {"model": work.ours or str(work.model), "examples": pairs}


def compare(
    work: Work, folder: Path, *, rounds: int, device: str = "cpu", install: bool = True, only: str = ""
) -> tuple[Row, dict[str, dict[str, str]]]:
    """A row and the versions of the peers' packages.

    Args:
        work: what is done.
        folder: for files that the children share.
        rounds: of `work.steps_a_round` steps each, after a warm-up of two.
        device: of everybody.
        install: whether peers that are not there may be installed.
        only: peers whose label does not contain it stay away.

    """
    print(f"\n{work.name}", flush=True)
    with company() as met:
        _invite(
            met,
            work,
            folder,
            steps=WARM_UP_STEPS + rounds * work.steps_a_round,
            device=device,
            install=install,
            only=only,
        )
        seconds: dict[str, list[float]] = {label: [] for label in met.children}
        losses: dict[str, list[float]] = {label: [] for label in met.children}
        processor: dict[str, list[float]] = {label: [] for label in met.children}

        def step(label: str, child: Child, steps: int) -> None:
            answer = child.ask("round", steps=steps)
            seconds[label] += answer["seconds"]
            losses[label] += answer["losses"]
            processor[label] += answer["processor"]

        met.round(0, lambda label, child: step(label, child, WARM_UP_STEPS))
        for index in rounds_of(rounds):
            met.round(index, lambda label, child: step(label, child, work.steps_a_round))
            print(f"  round {index + 1} of {rounds}", flush=True)
        finished = [label for label in seconds if label not in met.missing]
        clock, shown, other = "by the clock", processor, seconds
        if not by_processor_time(device):
            clock, shown, other = "by processor time", seconds, processor if device == "cpu" else {}
        row = Row(
            work=work.name,
            unit="ms a step",
            samples={label: [1000 * each for each in shown[label][WARM_UP_STEPS:]] for label in finished},
            wanted=work.wanted,
            wanted_ratios=work.wanted_ratios or {},
            facts=other_time(clock, {label: other[label][WARM_UP_STEPS:] for label in finished if label in other})
            | loss_facts({label: losses[label] for label in finished}),
            notes=[*met.notes(), *precision.notes(device)],
        )
        return row, met.versions()


def compare_many(
    work: Work,
    folder: Path,
    *,
    jobs: int,
    wanted_ratio: float,
    rounds: int,
    device: str = "cpu",
    install: bool = True,
) -> tuple[Row, dict[str, dict[str, str]]]:
    """So many jobs at once on our engine, beside TRL with its defaults doing them one after the other.

    TRL's time is that of its steps alone: what lies between two of its jobs is not held against it.
    """
    name = f"{work.name}, {jobs} jobs at once"
    print(f"\n{name}", flush=True)
    steps = work.steps_a_round
    epochs = steps * work.batch_size // len(work.examples)
    label = f"{TRL_DEFAULTS}, one job after the other"
    with company() as met:
        setup = ours_setup(work, device) | {"max_jobs_per_step": jobs}
        ours = _ours(met, setup)
        shared = _shared(ours, common_setup(work, device), folder, steps=WARM_UP_STEPS + rounds * steps)
        trl = met.invite(label, _peers(shared, install=install)[TRL_DEFAULTS])
        ours.ask("whole", jobs=jobs, epochs=epochs)
        speeds: dict[str, list[float]] = {OURS: []} | ({label: []} if trl else {})
        if trl:
            trl.ask("round", steps=WARM_UP_STEPS)

        def measure(which: str, child: Child) -> None:
            if which == OURS:
                seconds = child.ask("whole", jobs=jobs, epochs=epochs)["seconds"]
                speeds[which].append(jobs * steps / seconds)
            else:
                speeds[which].append(steps / sum(child.ask("round", steps=steps)["seconds"]))

        for index in rounds_of(rounds):
            met.round(index, measure)
        row = Row(
            work=name,
            unit="steps/s, all jobs together",
            more_is_better=True,
            samples={which: values for which, values in speeds.items() if which not in met.missing},
            wanted=f"at least {wanted_ratio:g} x TRL in sequence",
            wanted_ratios={label: wanted_ratio},
            notes=[*met.notes(), *precision.notes(device)],
        )
        return row, met.versions()


def loss_facts(curves: Mapping[str, list[float]]) -> dict[str, Any]:
    """Everybody's loss at the last step, and how far each peer's is from ours, there and in the mean of all steps."""
    ours = curves[OURS]
    facts: dict[str, Any] = {"steps": len(ours), "first loss": round(ours[0], 4), "loss_ours": round(ours[-1], 4)}
    for label, curve in curves.items():
        if label != OURS:
            last, mean = away(ours[-1], curve[-1]), away(sum(ours), sum(curve))
            facts[f"loss_peer, {label}"] = round(curve[-1], 4)
            facts[f"loss difference, {label}"] = f"{last:.2%} at the last step, {mean:.2%} in the mean of all"
    return facts


def away(ours: float, theirs: float) -> float:
    """How far ours is from theirs, as a share of theirs."""
    return abs(ours - theirs) / max(abs(theirs), 1e-12)


def _invite(met: Company, work: Work, folder: Path, *, steps: int, device: str, install: bool, only: str) -> None:
    ours = _ours(met, ours_setup(work, device))
    shared = _shared(ours, common_setup(work, device), folder, steps=steps)
    ours.ask("begin")
    for label, start in _peers(shared, install=install).items():
        if only in label:
            met.invite(label, start)


def _ours(met: Company, setup: dict[str, Any]) -> Child:
    child = met.invite(OURS, lambda: Child("train_ours.py", setup))
    if child is None:
        raise SystemExit(f"our own engine did not start: {met.missing[OURS]}")
    return child


def _shared(ours: Child, setup: dict[str, Any], folder: Path, *, steps: int) -> dict[str, Any]:
    """The setup with what our engine wrote for everybody: the first adapter, the token ids and their order."""
    adapter, data = folder / "initial-adapter", folder / "data.json"
    data.write_text(json.dumps(ours.ask("describe", steps=steps, directory=str(adapter))), encoding="utf-8")
    return setup | {"adapter": str(adapter), "data": str(data)}


def _peers(setup: dict[str, Any], *, install: bool) -> dict[str, Callable[[], Child]]:
    def trl(*, by_hand: bool) -> Child:
        return Child("train_trl.py", setup | {"by_hand": by_hand}, python=peers.python_of("trl", install=install))

    def peft(dtype: str) -> Child:
        return Child("train_peft.py", setup | {"dtype": dtype})

    started: dict[str, Callable[[], Child]] = {
        TRL_DEFAULTS: lambda: trl(by_hand=False),
        TRL_BY_HAND: lambda: trl(by_hand=True),
        PEFT_FLOAT32: lambda: peft("float32"),
    }
    return started | ({PEFT_BFLOAT16: lambda: peft("bfloat16")} if setup["dtype"] == "bfloat16" else {})
