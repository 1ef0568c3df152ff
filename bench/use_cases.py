"""The five use cases of `examples`: how good the answers of the base, of our tuned models and of TRL's are.

    python bench/use_cases.py --base smollm2=DIRECTORY [--seeds 3] [--only bank_messages] [--write]
    python bench/use_cases.py --try      the embedded model, few examples, one seed: shows that all of it runs

It starts a server of its own, or asks the one that TUNINGFORK_URL names (`--running`). A seed shuffles the examples
for training; our service makes a job's own seed of the examples in their order, TRL gets the number. TRL tunes beside
us where its environment is in `bench/.peers`. `--write` writes `bench/results/answers/use_cases.json`, and
`docs/use-cases.md` from it.
"""

import argparse
import importlib
import json
import random
import statistics
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx

import peers
import precision
import report
from bench_server import running
from children import Child
from tuningfork.embedded import model_directory

sys.path.insert(0, str(report.ROOT / "examples"))

import service

CASES = ("bank_messages", "dialogue_summaries", "passage_questions", "garden_chat", "table_bookings")
BASE, TUNED, TRL = "base, told what to do", "tuned", "TRL and PEFT"
# Not in `bench/results` itself: those files make `docs/performance.md`.
RESULTS = report.RESULTS / "answers"
PAGE = report.ROOT / "docs" / "use-cases.md"
EMBEDDED = "models/tuningfork-mini-001"
ADAPTER = {"rank": 8, "alpha": 16}
"""Of a base that no catalog describes, and so of everybody here."""

Scores = dict[str, float]


def measured(client: httpx.Client, base: str, case: ModuleType, *, seeds: int, limit: int, peer: Child | None) -> Any:
    """One case: the scores of everybody, a list with one for each seed.

    `limit` is the most examples for training, and the most questions asked; 0 is all of them.
    """
    asked = limit or len(case.PROMPTS)
    scores: dict[str, list[Scores]] = {BASE: [], TUNED: []} | ({TRL: []} if peer else {})

    def scored(answers: Sequence[str]) -> Scores:
        # What was not asked counts as not answered, in a trial only.
        return case.score([*answers, *[""] * (len(case.PROMPTS) - len(answers))])

    scores[BASE].append(scored(service.ask(client, base, case.BASE_PROMPTS[:asked], max_tokens=case.MAX_TOKENS)))
    for seed in range(seeds):
        rows = random.Random(seed).sample(case.TRAINING, limit or len(case.TRAINING))
        tuned = service.tune(client, base, case.__name__, rows, case.SETTINGS)
        scores[TUNED].append(scored(service.ask(client, tuned, case.PROMPTS[:asked], max_tokens=case.MAX_TOKENS)))
        client.delete(f"/v1beta/{tuned}").raise_for_status()
        if peer:
            work = {"rows": rows, "settings": case.SETTINGS, "seed": seed, "max_tokens": case.MAX_TOKENS}
            scores[TRL].append(scored(peer.ask("answer", prompts=case.PROMPTS[:asked], **work)["answers"]))
    return {
        "case": case.__name__,
        "title": (case.__doc__ or "").strip(),
        "settings": case.SETTINGS,
        "training": limit or len(case.TRAINING),
        "held_out": asked,
        "scores": scores,
    }


def invited(stack: ExitStack, location: str, device: str) -> tuple[Child | None, str]:
    """TRL's child, which ends with the stack; or None and why there is none."""
    try:
        python = peers.python_of("trl", install=False)
    except peers.PeerMissing as error:
        return None, str(error)
    setup = {"model": location, "device": device, "dtype": precision.native(device), **ADAPTER}
    return stack.enter_context(Child("use_case_trl.py", setup, python=python)), ""


def spread(values: Sequence[float]) -> str:
    """Their mean and, of several, the sample's standard deviation."""
    mean = f"{statistics.fmean(values):.3f}"
    return f"{mean} ± {statistics.stdev(values):.3f}" if len(values) > 1 else mean


def table(scores: Mapping[str, Sequence[Scores]]) -> list[list[str]]:
    """A heading, and a line for each metric: its name, and everybody's mean and spread."""
    metrics = list(next(iter(scores.values()))[0])
    lines = [[metric, *(spread([each[metric] for each in runs]) for runs in scores.values())] for metric in metrics]
    return [["", *scores], *lines]


def page(result: Mapping[str, Any]) -> str:
    """`docs/use-cases.md`."""
    text = [
        "# Use cases",
        "",
        f"Five uses of a tuned model, with the data of `examples/data`, over `{result['base']}`.",
        "The base is told what to do; the tuned models get the input alone. All answer with temperature 0.",
        f"Means over {result['seeds']} seeds, with the standard deviation where there are several.",
        "",
    ]
    for case in result["cases"]:
        heading, *lines = table(case["scores"])
        text += [f"## {case['case'].replace('_', ' ').capitalize()}", "", case["title"], ""]
        text += [_line(heading), _line(["---"] * len(heading)), *map(_line, lines), ""]
        settings = ", ".join(f"{name} {value}" for name, value in case["settings"].items())
        text += [f"{case['training']} examples for training, {case['held_out']} held out; {settings}.", ""]
    text += [
        f"    {result['command']}",
        "",
        f"{result['machine']['cpu']}, {result['date']}, commit {result['commit']}.",
    ]
    return "\n".join([*text, *(["", result["note"]] if result["note"] else []), ""])


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def write(result: Mapping[str, Any], *, results: Path = RESULTS, to: Path = PAGE) -> None:
    """Write the result and the page that is made of it."""
    results.mkdir(parents=True, exist_ok=True)
    text = json.dumps(result, indent=2, ensure_ascii=False) + "\n"
    (results / "use_cases.json").write_text(text, encoding="utf-8")
    to.write_text(page(result), encoding="utf-8")


def parsed() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", help="NAME=DIRECTORY_OR_HUB_ID of the base model")
    parser.add_argument("--try", dest="trial", action="store_true", help="the embedded model and four examples a case")
    parser.add_argument(
        "--running", action="store_true", help="ask the server that TUNINGFORK_URL names, which serves the base as NAME"
    )
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", choices=CASES, action="append", help="this case; may be given again")
    parser.add_argument("--device", default="cpu", help="of TRL; the server finds its own")
    parser.add_argument("--write", action="store_true", help="write the result and docs/use-cases.md")
    arguments = parser.parse_args()
    if bool(arguments.base) == arguments.trial or (arguments.trial and arguments.write):
        parser.error("give --base, or --try, which writes nothing")
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
    cases = []
    with ExitStack() as stack:
        client = stack.enter_context(
            service.connect() if arguments.running else stack.enter_context(running(*options)).client()
        )
        peer, why = invited(stack, location or str(model_directory()), arguments.device)
        note = f"{TRL} did not take part: {why}." if why else ""
        print(note or f"{TRL} takes part", flush=True)
        for case in arguments.only or CASES:
            print(f"\n{case}", flush=True)
            module = importlib.import_module(case)
            cases.append(measured(client, base, module, seeds=seeds, limit=limit, peer=peer))
            for line in table(cases[-1]["scores"]):
                print("  " + "".join(f"{cell:26}" for cell in line), flush=True)
    if arguments.write:
        facts = {"command": report.command_line(), "machine": report.machine(), "commit": report.commit()}
        versions = {report.OURS: report.package_versions(), TRL: peer.versions if peer else {}}
        date = report.datetime.now(report.UTC).date().isoformat()
        write({"base": base, "seeds": seeds, "cases": cases, "note": note, "date": date, "versions": versions, **facts})


if __name__ == "__main__":
    main()
