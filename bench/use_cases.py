"""The five use cases of `examples`: how good the answers of the base, of our tuned models and of TRL's are.

    python bench/use_cases.py --base smollm2=DIRECTORY --record [--seeds 3] [--only bank_messages] [--minutes 60]
    python bench/use_cases.py --base smollm2=DIRECTORY --quick    one seed, without TRL
    python bench/use_cases.py --try      the embedded model, few examples, one seed: shows that all of it runs

It starts a server of its own, or asks the one that TUNINGFORK_URL names (`--running`). A seed shuffles the examples
for training; our service makes a job's own seed of the examples in their order, TRL gets the number. TRL tunes beside
us where its environment is in `bench/.peers`, with the same adapter shape; `--peer-seeds` bounds its seeds, since it
takes several times as long.

`--record` writes each run when it ends to `bench/results/answers/runs.jsonl`, and `docs/use-cases.md` from it; or to
the file that it names. A run that is there already is not made again, so the same command goes on after an
interruption. All cases are measured with one seed before any is with the next. `--who` measures one side only, so that
two processes may share the work.
"""

import argparse
import importlib
import io
import json
import random
import sys
import tarfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

import httpx
import psutil

import peers
import precision
import report
import use_cases_page
import use_cases_runs
from bench_server import running
from children import Child, ChildFailed
from tuningfork.embedded import model_directory
from use_cases_runs import BASE, TRL, TUNED, Scores

sys.path.insert(0, str(report.ROOT / "examples"))

import service

CASES = tuple(use_cases_page.GOALS)
EMBEDDED = "models/tuningfork-mini-001"
TRIED_EXAMPLES = 4
"""Of each case, with `--try`."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """One run to be measured."""

    case: str
    who: str
    seed: int | None = None


class Side(Protocol):
    """Who answers."""

    def run(self, case: ModuleType, seed: int | None, limit: int) -> dict[str, Any]:
        """The fields of a run's line that are found out by measuring.

        `seed` None: the base is asked. `limit`: the most examples for training, and the most questions; 0: all.
        """
        ...


def work(cases: Sequence[str], *, sides: Sequence[str], seeds: int, peer_seeds: int) -> Iterator[Wanted]:
    """What is to be measured, in this order: the first seed of all cases before the second one."""
    for seed in range(max(seeds, peer_seeds)):
        for case in cases:
            if seed == 0 and TUNED in sides:
                yield Wanted(case, BASE)
            if seed < seeds and TUNED in sides:
                yield Wanted(case, TUNED, seed)
            if seed < peer_seeds and TRL in sides:
                yield Wanted(case, TRL, seed)


def rows_of(case: ModuleType, seed: int, limit: int) -> list[Any]:
    """The examples for training in the order of a seed."""
    return random.Random(seed).sample(case.TRAINING, limit or len(case.TRAINING))


def scored(case: ModuleType, answers: Sequence[str]) -> Scores:
    """The scores of answers to the first held-out questions. What was not asked counts as wrong, in a trial only."""
    scores: Scores = case.score([*answers, *[""] * (len(case.PROMPTS) - len(answers))])
    return scores


@dataclass(slots=True)
class Service:
    """Our service: the base, and the models that it tunes.

    `pid` is the server's process; None: it is somebody else's, and the processor time of its trainer is not known.
    """

    client: httpx.Client
    base: str
    pid: int | None

    def run(self, case: ModuleType, seed: int | None, limit: int) -> dict[str, Any]:
        """See `Side`."""
        asked = slice(limit or None)
        if seed is None:
            answers = service.ask(self.client, self.base, case.BASE_PROMPTS[asked], max_tokens=case.MAX_TOKENS)
            return {"scores": scored(case, answers), "adapter": None, "seconds": None, "processor_seconds": None}
        began, worked = time.monotonic(), self._trainer_seconds()
        tuned = service.tune(self.client, self.base, case.__name__, rows_of(case, seed, limit), case.SETTINGS)
        took, worked = time.monotonic() - began, self._trainer_seconds() - worked
        answers = service.ask(self.client, tuned, case.PROMPTS[asked], max_tokens=case.MAX_TOKENS)
        adapter = adapter_of(self.client, tuned)
        self.client.delete(f"/v1beta/{tuned}").raise_for_status()
        return {
            "scores": scored(case, answers),
            "adapter": adapter,
            "seconds": round(took, 1),
            "processor_seconds": round(worked, 1) if self.pid else None,
        }

    def _trainer_seconds(self) -> float:
        """The processor time that the server's trainer has used since it started; 0.0 if there is none."""
        spent = 0.0
        for process in psutil.Process(self.pid).children(recursive=True) if self.pid else ():
            try:
                if any("trainer_process" in word for word in process.cmdline()):
                    times = process.cpu_times()
                    spent += times.user + times.system
            except psutil.NoSuchProcess:
                continue
        return spent


@dataclass(slots=True)
class Peer:
    """TRL with PEFT, in an environment of its own."""

    child: Child

    def run(self, case: ModuleType, seed: int | None, limit: int) -> dict[str, Any]:
        """See `Side`; the base is asked through our service only."""
        assert seed is not None
        said = self.child.ask(
            "answer",
            rows=rows_of(case, seed, limit),
            settings=case.SETTINGS,
            adapter=use_cases_runs.USUAL_ADAPTER,
            seed=seed,
            prompts=case.PROMPTS[: limit or None],
            max_tokens=case.MAX_TOKENS,
        )
        return {
            "scores": scored(case, said["answers"]),
            "adapter": use_cases_runs.USUAL_ADAPTER,
            "seconds": round(said["tuning_seconds"], 1),
            "processor_seconds": round(said["tuning_processor_seconds"], 1),
        }


def adapter_of(client: httpx.Client, tuned: str) -> dict[str, float]:
    """The rank and the alpha of a tuned model's adapter, as its exported configuration has them."""
    archive = client.get(f"/tuningfork/v1/{tuned}/adapter").raise_for_status().content
    with tarfile.open(fileobj=io.BytesIO(archive)) as files:
        file = files.extractfile("adapter_config.json")
        assert file is not None
        config = json.load(file)
    return {"rank": config["r"], "alpha": config["lora_alpha"]}


class Sides:
    """Everybody who answers, each started when the first run of theirs is to be made; they end with the stack."""

    def __init__(self, arguments: argparse.Namespace, stack: ExitStack) -> None:
        self._arguments, self._stack = arguments, stack

    def of(self, who: str) -> Side | None:
        """Who answers as `who`; None: TRL cannot, and a line has said why."""
        return self._peer if who == TRL else self._service

    @cached_property
    def _service(self) -> Service:
        if self._arguments.running:
            client, pid = self._stack.enter_context(service.connect()), None
        else:
            options = ("--base-model", self._arguments.base) if self._arguments.base else ()
            server = self._stack.enter_context(running(*options))
            client, pid = self._stack.enter_context(server.client()), server.pid
        # Loading the base and a first answer take minutes where others use the processor too.
        client.timeout = httpx.Timeout(600)
        return Service(client, base_of(self._arguments), pid)

    @cached_property
    def _peer(self) -> Peer | None:
        location = (self._arguments.base or "").partition("=")[2] or str(model_directory())
        try:
            return Peer(invited(self._stack, location, self._arguments.device))
        except (peers.PeerMissing, ChildFailed) as error:
            print(f"{TRL} does not take part: {error}", flush=True)
            return None


def invited(stack: ExitStack, location: str, device: str) -> Child:
    """TRL's child, which ends with the stack.

    Raises:
        PeerMissing: its environment is not there.
        ChildFailed: it ended before it was ready.

    """
    python = peers.python_of("trl", install=False)
    setup = {"model": location, "device": device, "dtype": precision.native(device)}
    return stack.enter_context(Child("use_case_trl.py", setup, python=python))


def base_of(arguments: argparse.Namespace) -> str:
    """The base model's public name."""
    return f"models/{arguments.base.partition('=')[0]}" if arguments.base else EMBEDDED


def measure(sides: Sides, wanted: Wanted, base: str, limit: int) -> dict[str, Any] | None:
    """The line of a run; None: there is nobody to make it."""
    side = sides.of(wanted.who)
    if side is None:
        return None
    try:
        found = side.run(importlib.import_module(wanted.case), wanted.seed, limit)
    except ChildFailed as error:
        print(f"{wanted.case}, {wanted.who}, seed {wanted.seed}: {error}", flush=True)
        return None
    versions = side.child.versions if isinstance(side, Peer) else report.package_versions()
    return {
        **use_cases_runs.key(base, wanted.case, wanted.who, wanted.seed),
        **found,
        # Without places of this machine, and the same for both sides.
        "command": f"python bench/use_cases.py --base {base.removeprefix('models/')}=DIRECTORY --record",
        "date": report.datetime.now(report.UTC).date().isoformat(),
        "commit": report.commit(),
        "cpu": report.machine()["cpu"],
        "versions": versions,
    }


def parsed() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", help="NAME=DIRECTORY_OR_HUB_ID of the base model")
    parser.add_argument("--try", dest="trial", action="store_true", help="the embedded model and four examples a case")
    parser.add_argument(
        "--running", action="store_true", help="ask the server that TUNINGFORK_URL names, which serves the base as NAME"
    )
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--peer-seeds", type=int, default=1, help="seeds of TRL; 0: no TRL")
    parser.add_argument("--quick", action="store_true", help="one seed, without TRL")
    parser.add_argument("--only", choices=CASES, action="append", help="this case, in this order; may be given again")
    parser.add_argument("--who", choices=("ours", "trl"), help="this side only")
    parser.add_argument("--minutes", type=float, help="begin no run later than this; default: no limit")
    parser.add_argument("--device", default="cpu", help="of TRL; the server finds its own")
    parser.add_argument(
        "--record", type=Path, nargs="?", const=use_cases_runs.RUNS, help="write runs to the tree, or to this file"
    )
    arguments = parser.parse_args()
    if bool(arguments.base) == arguments.trial or (arguments.trial and arguments.record):
        parser.error("give --base, or --try, which records nothing")
    if arguments.quick or arguments.trial:
        arguments.seeds, arguments.peer_seeds = 1, arguments.peer_seeds if arguments.trial else 0
    location = (arguments.base or "").partition("=")[2]
    if location.startswith("/") and not Path(location).is_dir():
        parser.error(f"there is no directory {location}; `make smollm2` fetches a base model")
    return arguments


def main() -> None:
    """Measure what is not recorded yet, and print the goals."""
    arguments = parsed()
    ends = time.monotonic() + 60 * arguments.minutes if arguments.minutes else None
    base = base_of(arguments)
    limit = TRIED_EXAMPLES if arguments.trial else 0
    who = {"ours": (TUNED,), "trl": (TRL,), None: (TUNED, TRL)}[arguments.who]
    bounds = {"seeds": arguments.seeds, "peer_seeds": arguments.peer_seeds}
    made: list[dict[str, Any]] = []
    with ExitStack() as stack:
        sides = Sides(arguments, stack)
        for wanted in work(arguments.only or CASES, sides=who, **bounds):
            known = use_cases_runs.recorded(arguments.record) if arguments.record else made
            if use_cases_runs.is_known(use_cases_runs.key(base, wanted.case, wanted.who, wanted.seed), known):
                continue
            if ends is not None and time.monotonic() > ends:
                print(f"the {arguments.minutes:g} minutes are over; the same command goes on", flush=True)
                break
            print(f"{wanted.case}, {wanted.who}, seed {wanted.seed}", flush=True)
            line = measure(sides, wanted, base, limit)
            if line is not None:
                made.append(line)
                keep(line, arguments.record)
    show(arguments.record, made, base)


def keep(line: Mapping[str, Any], record: Path | None) -> None:
    """Print a run's scores, and write them where they are to be recorded."""
    print("  " + ", ".join(f"{metric} {score:.3f}" for metric, score in line["scores"].items()), flush=True)
    if record:
        use_cases_runs.append(line, record)
    if record == use_cases_runs.RUNS:
        use_cases_page.write()


def show(record: Path | None, made: Sequence[Mapping[str, Any]], base: str) -> None:
    """Print the goals, of all runs that are recorded or, where nothing is, of those that were made."""
    lines = use_cases_runs.recorded(record) if record else made
    found = {name: use_cases_runs.measured(lines, base, name) for name in CASES}
    scores = {name: case.scores for name, case in found.items() if case and TUNED in case.scores}
    for row in use_cases_page.goals(scores) if scores else ():
        print("  " + "".join(f"{cell:24}" for cell in row), flush=True)


if __name__ == "__main__":
    main()
