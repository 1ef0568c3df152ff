"""The five use cases of `examples`: how good the answers of the base, of our tuned models and of TRL's are.

    python bench/use_cases.py --base smollm2=DIRECTORY [--seeds 3] [--only bank_messages] [--write]
    python bench/use_cases.py --base smollm2=DIRECTORY --quick    one seed, without TRL
    python bench/use_cases.py --try      the embedded model, few examples, one seed: shows that all of it runs

It starts a server of its own, or asks the one that TUNINGFORK_URL names (`--running`). A seed shuffles the examples
for training; our service makes a job's own seed of the examples in their order, TRL gets the number. TRL tunes beside
us where its environment is in `bench/.peers`, with the same adapter shape; `--peer-seeds` bounds its seeds, since it
takes several times as long. `--write` writes `bench/results/answers/use_cases.json`, and `docs/use-cases.md` from it,
after each case: cases that were measured before stay.
"""

import argparse
import importlib
import io
import json
import random
import sys
import tarfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx

import peers
import precision
import report
import use_cases_page
from bench_server import running
from children import Child
from tuningfork.embedded import model_directory
from use_cases_page import BASE, TRL, TUNED, Scores

sys.path.insert(0, str(report.ROOT / "examples"))

import service

CASES = tuple(use_cases_page.GOALS)
EMBEDDED = "models/tuningfork-mini-001"


def measured(
    client: httpx.Client, base: str, case: ModuleType, *, seeds: int, limit: int, peer: Child | None, peer_seeds: int
) -> dict[str, Any]:
    """One case: the scores of everybody, a list with one for each seed, and the minutes of each tuning.

    `limit` is the most examples for training, and the most questions asked; 0 is all of them.
    """
    asked = limit or len(case.PROMPTS)
    takes_part = peer is not None and peer_seeds > 0
    scores: dict[str, list[Scores]] = {BASE: [], TUNED: []} | ({TRL: []} if takes_part else {})
    minutes: dict[str, list[float]] = {TUNED: [], TRL: []}
    adapter: dict[str, float] = {}

    def scored(answers: Sequence[str]) -> Scores:
        # What was not asked counts as not answered, in a trial only.
        return case.score([*answers, *[""] * (len(case.PROMPTS) - len(answers))])

    scores[BASE].append(scored(service.ask(client, base, case.BASE_PROMPTS[:asked], max_tokens=case.MAX_TOKENS)))
    for seed in range(seeds):
        rows = random.Random(seed).sample(case.TRAINING, limit or len(case.TRAINING))
        began = time.monotonic()
        tuned = service.tune(client, base, case.__name__, rows, case.SETTINGS)
        minutes[TUNED].append((time.monotonic() - began) / 60)
        scores[TUNED].append(scored(service.ask(client, tuned, case.PROMPTS[:asked], max_tokens=case.MAX_TOKENS)))
        adapter = adapter_of(client, tuned)
        client.delete(f"/v1beta/{tuned}").raise_for_status()
        if peer and seed < peer_seeds:
            work = {"rows": rows, "settings": case.SETTINGS, "seed": seed, "max_tokens": case.MAX_TOKENS}
            said = peer.ask("answer", prompts=case.PROMPTS[:asked], adapter=adapter, **work)
            scores[TRL].append(scored(said["answers"]))
            minutes[TRL].append(said["tuning_seconds"] / 60)
    return {
        "title": (case.__doc__ or "").strip(),
        "settings": case.SETTINGS,
        "adapter": adapter,
        "training": limit or len(case.TRAINING),
        "held_out": asked,
        "scores": scores,
        "minutes": minutes,
    }


def adapter_of(client: httpx.Client, tuned: str) -> dict[str, float]:
    """The rank and the alpha of a tuned model's adapter, as its exported configuration has them."""
    archive = client.get(f"/tuningfork/v1/{tuned}/adapter").raise_for_status().content
    with tarfile.open(fileobj=io.BytesIO(archive)) as files:
        file = files.extractfile("adapter_config.json")
        assert file is not None
        config = json.load(file)
    return {"rank": config["r"], "alpha": config["lora_alpha"]}


def invited(stack: ExitStack, location: str, device: str) -> tuple[Child | None, str]:
    """TRL's child, which ends with the stack; or None and why there is none."""
    try:
        python = peers.python_of("trl", install=False)
    except peers.PeerMissing as error:
        return None, str(error)
    setup = {"model": location, "device": device, "dtype": precision.native(device)}
    return stack.enter_context(Child("use_case_trl.py", setup, python=python)), ""


def parsed() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", help="NAME=DIRECTORY_OR_HUB_ID of the base model")
    parser.add_argument("--try", dest="trial", action="store_true", help="the embedded model and four examples a case")
    parser.add_argument(
        "--running", action="store_true", help="ask the server that TUNINGFORK_URL names, which serves the base as NAME"
    )
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--peer-seeds", type=int, default=1, help="seeds of TRL, at most those of --seeds; 0: no TRL")
    parser.add_argument("--quick", action="store_true", help="one seed, without TRL")
    parser.add_argument("--only", choices=CASES, action="append", help="this case; may be given again")
    parser.add_argument("--device", default="cpu", help="of TRL; the server finds its own")
    parser.add_argument("--write", action="store_true", help="write the result and docs/use-cases.md")
    arguments = parser.parse_args()
    if bool(arguments.base) == arguments.trial or (arguments.trial and arguments.write):
        parser.error("give --base, or --try, which writes nothing")
    if arguments.quick:
        arguments.seeds, arguments.peer_seeds = 1, 0
    location = (arguments.base or "").partition("=")[2]
    if location.startswith("/") and not Path(location).is_dir():
        parser.error(f"there is no directory {location}; `make smollm2` fetches a base model")
    return arguments


def main() -> None:
    """Measure the cases one after the other."""
    arguments = parsed()
    name, _, location = (arguments.base or "").partition("=")
    base = f"models/{name}" if name else EMBEDDED
    options = ("--base-model", arguments.base) if name else ()
    seeds, limit = (1, 4) if arguments.trial else (arguments.seeds, 0)
    with ExitStack() as stack:
        client = stack.enter_context(
            service.connect() if arguments.running else stack.enter_context(running(*options)).client()
        )
        # Loading the base and a first answer take minutes where others use the processor too.
        client.timeout = httpx.Timeout(600)
        peer, why = None, "it was not asked to"
        if arguments.peer_seeds:
            peer, why = invited(stack, location or str(model_directory()), arguments.device)
        note = f"{TRL} did not take part: {why.rstrip('.')}." if why else ""
        print(note or f"{TRL} takes part", flush=True)
        for case in arguments.only or CASES:
            print(f"\n{case}", flush=True)
            module = importlib.import_module(case)
            bounds = {"seeds": seeds, "limit": limit, "peer": peer, "peer_seeds": arguments.peer_seeds}
            found = measured(client, base, module, **bounds)
            for line in use_cases_page.table(found["scores"]):
                print("  " + "".join(f"{cell:26}" for cell in line), flush=True)
            if arguments.write:
                use_cases_page.write(base, {case: {**found, "note": note, **facts(peer)}})


def facts(peer: Child | None) -> dict[str, Any]:
    """How a case's figures came about."""
    return {
        "command": report.command_line(),
        "machine": report.machine(),
        "commit": report.commit(),
        "date": report.datetime.now(report.UTC).date().isoformat(),
        "versions": {report.OURS: report.package_versions(), TRL: peer.versions if peer else {}},
    }


if __name__ == "__main__":
    main()
