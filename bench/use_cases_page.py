"""`docs/use-cases.md`, made of `bench/results/answers/use_cases.json`: what was wanted, what was reached, all scores.

    python bench/use_cases_page.py     write the page anew


A result holds `base` and `cases` by name. A case holds `title`, `settings`, `adapter`, `training`, `held_out`,
`scores` {who: [{metric: score} for each seed]}, `minutes` {who: [minutes of each tuning]}, and how it came about:
`command`, `date`, `commit`, `machine`, `versions` and `note`. Beside the result are `sweep.jsonl`, which
`use_cases_sweep.py` records, and `remarks.toml`: what people have to say of a case's figures.
"""

import hashlib
import importlib
import json
import statistics
import sys
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import report

BASE, TUNED, TRL = "base, told what to do", "tuned", "TRL and PEFT"
# Not in `bench/results` itself: those files make `docs/performance.md`.
RESULTS = report.RESULTS / "answers"
SWEEP = RESULTS / "sweep.jsonl"
PAGE = report.ROOT / "docs" / "use-cases.md"
TUTORIAL = "tutorial"
"""The tutorial's job, of which settings are tried too; it has no goal over this base."""
ONE_POINT = 0.01
USUAL_ADAPTER = (8, 16.0)
"""The rank and the alpha of bases that no catalog describes, with which the programs' settings are tried."""
_YES = {True: "yes", False: "**no**", None: "-"}
_TRIED = ("learning_rate", "alpha", "rank", "batch_size", "epoch")

sys.path.insert(0, str(report.ROOT / "examples"))

_INTRODUCTION = """\
Made from `bench/results/answers` by `make use-cases` or `bench/use_cases_page.py`; do not edit.

Five uses of a tuned model, with the data and the
programs of [examples](../examples/README.md), over `{base}`. The base is told in its prompt what to do; the tuned
models get the input alone. All answer with temperature 0. A seed shuffles the examples for training and draws the
adapter's first weights. Figures are means over seeds, with the standard deviation where there are several.

A case that was not measured through a service is judged by its program's settings among those that were tried, with
both engines in one process (`bench/use_cases_sweep.py`)."""

Scores = dict[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """What one metric of the tuned model is to reach; exactly one of the three bounds is given.

    `times_base` is the least multiple of the base model's own score.
    """

    metric: str
    at_least: float | None = None
    at_most: float | None = None
    times_base: float | None = None

    def wanted(self) -> str:
        """The bound in words."""
        if self.times_base is not None:
            return f"{self.times_base:g} times the base's"
        return f"at most {self.at_most:.2f}" if self.at_least is None else f"at least {self.at_least:.2f}"

    def is_reached(self, tuned: float, base: float | None) -> bool | None:
        """Whether the tuned model's mean keeps the bound; None: that depends on the base's, which nobody knows."""
        if self.at_most is not None:
            return tuned <= self.at_most
        if self.at_least is not None:
            return tuned >= self.at_least
        return None if base is None or self.times_base is None else tuned >= self.times_base * base

    def is_as_good(self, tuned: float, other: float) -> bool:
        """Whether the tuned model's mean is at most one point worse than the other's."""
        lead = other - tuned if self.at_most is not None else tuned - other
        return lead >= -ONE_POINT - 1e-9


GOALS = {
    "bank_messages": (Goal(metric="accuracy", at_least=0.97),),
    "dialogue_summaries": (
        Goal(metric="with a name left in", at_most=0.05),
        Goal(metric="ROUGE-L", times_base=3.0),
    ),
    "passage_questions": (
        Goal(metric="exact match", at_least=0.45),
        Goal(metric="copied from the passage", at_least=0.95),
    ),
    "garden_chat": (Goal(metric="keeps the role", at_least=0.90),),
    "table_bookings": (Goal(metric="valid JSON", at_least=0.99),),
}


CASES = {**{name: name for name in GOALS}, TUTORIAL: "tutorial_case"}
"""The modules of the cases that settings are tried on, by the cases' names."""


def spread(values: Sequence[float]) -> str:
    """Their mean and, of several, the sample's standard deviation."""
    mean = f"{statistics.fmean(values):.3f}"
    return f"{mean} ± {statistics.stdev(values):.3f}" if len(values) > 1 else mean


def table(scores: Mapping[str, Sequence[Scores]]) -> list[list[str]]:
    """A heading, and a line for each metric: its name, and everybody's mean and spread."""
    metrics = list(next(iter(scores.values()))[0])
    lines = [[metric, *(spread([each[metric] for each in runs]) for runs in scores.values())] for metric in metrics]
    return [["", *scores], *lines]


def goals(scores: Mapping[str, Mapping[str, Sequence[Scores]]]) -> list[list[str]]:
    """A heading, and a line for each goal of these cases: what is wanted, what is reached, and beside TRL."""
    lines = [["use case", "metric", "wanted", "base", "tuned", "reached", TRL, "within a point of it"]]
    for name, of_case in scores.items():
        for goal in GOALS.get(name, ()):
            means = {who: statistics.fmean(each[goal.metric] for each in runs) for who, runs in of_case.items()}
            base, tuned, peer = means.get(BASE), means[TUNED], means.get(TRL)
            found = [*map(_figure, (base, tuned)), _YES[goal.is_reached(tuned, base)]]
            beside = [_figure(peer), _YES[None if peer is None else goal.is_as_good(tuned, peer)]]
            lines.append([_titled(name), goal.metric, goal.wanted(), *found, *beside])
    return lines


def page(
    result: Mapping[str, Any], sweep: Sequence[Mapping[str, Any]] = (), remarks: Mapping[str, str] | None = None
) -> str:
    """The whole page.

    `result` has the cases that were measured through a service. `sweep` are lines of `sweep.jsonl`; where a case has no
    result, those with the settings of its program stand for it. Lines of other examples for training than a case has
    now are left out. `remarks` is what is to be said of a case, by its name.
    """
    cases: dict[str, Any] = result["cases"]
    data = {name: data_of(name) for name in CASES}
    lines = [
        line for line in sweep if f"models/{line['base']}" == result["base"] and line["data"] == data.get(line["case"])
    ]
    of_sweep = {name: swept(lines, name) for name in GOALS if name not in cases}
    scores = {name: cases[name]["scores"] if name in cases else of_sweep[name] for name in GOALS}
    text = [
        "# Use cases",
        "",
        *_INTRODUCTION.format(base=result["base"]).splitlines(),
        "",
        "## Wanted and reached",
        "",
        *_rows(goals({name: found for name, found in scores.items() if TUNED in found})),
        "",
    ]
    for name in (*GOALS, TUTORIAL):
        tried = tries(lines, name)
        if name in cases or len(tried) > 1 or name in (remarks or {}):
            text += [f"## {_titled(name)}", "", *(_measured(cases[name]) if name in cases else ())]
            text += ["Settings tried:", "", *_rows(tried), ""] if len(tried) > 1 else []
            text += [*remarks[name].splitlines(), ""] if remarks and name in remarks else []
    return "\n".join(text)


def swept(sweep: Sequence[Mapping[str, Any]], name: str) -> dict[str, list[Scores]]:
    """The scores of a case with its program's settings, of those who have any: the base, and the tuned models."""
    wanted = settings_of(name)
    base = [line["scores"] for line in sweep if line["case"] == name and line["epoch"] == 0]
    tuned = [
        line["scores"]
        for line in sweep
        if line["case"] == name
        and (line["epoch"], line["batch_size"], line["learning_rate"])
        == (wanted["epochCount"], wanted["batchSize"], wanted["learningRate"])
        and (line["rank"], line["alpha"]) == USUAL_ADAPTER
    ]
    return {who: found for who, found in ((BASE, base), (TUNED, tuned)) if found}


def data_of(name: str) -> str:
    """Tells the present state of a case's examples for training from others."""
    rows: Sequence[Mapping[str, Any]] = importlib.import_module(CASES[name]).TRAINING
    return hashlib.sha256(json.dumps(list(rows), sort_keys=True).encode()).hexdigest()[:12]


def settings_of(name: str) -> dict[str, Any]:
    """The hyperparameters at the top of a use case's program."""
    settings: dict[str, Any] = importlib.import_module(name).SETTINGS
    return settings


def tries(sweep: Sequence[Mapping[str, Any]], name: str) -> list[list[str]]:
    """A heading, and a line for each setting that was tried on a case, with its means over seeds."""
    own = [line for line in sweep if line["case"] == name]
    metrics = list(own[0]["scores"]) if own else []
    found: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for line in own:
        found.setdefault(tuple(line[field] for field in _TRIED), []).append(line)
    lines = [["rate", "alpha", "rank", "batch", "epochs", "seeds", "loss", "processor minutes", *metrics]]
    for tried, runs in sorted(found.items(), key=lambda item: [each or 0 for each in item[0]]):
        if tried[-1] == 0:
            said = [BASE, "-", "-", "-", "-", "-", "-", "-"]
        else:
            minutes = statistics.fmean(run["training_seconds"] for run in runs) / 60
            loss = statistics.fmean(run["loss"] for run in runs)
            said = [*(f"{each:g}" for each in tried), str(len(runs)), f"{loss:.3f}", f"{minutes:.1f}"]
        lines.append([*said, *(spread([run["scores"][metric] for run in runs]) for metric in metrics)])
    return lines


def _measured(case: Mapping[str, Any]) -> list[str]:
    """What was measured through a service."""
    adapter, settings = case["adapter"], case["settings"]
    said = ", ".join(f"{key} {value}" for key, value in settings.items())
    minutes = "; ".join(
        f"{who} {statistics.fmean(taken):.1f} minutes" for who, taken in case["minutes"].items() if taken
    )
    seeds = "; ".join(f"{who} {len(runs)}" for who, runs in case["scores"].items() if who != BASE)
    machine = case["machine"]
    made = (
        f"{case['training']} examples for training, {case['held_out']} held out. {said}; rank {adapter['rank']}, "
        f"alpha {adapter['alpha']:g}. Seeds: {seeds}. One tuning took: {minutes}."
    )
    where = (
        f"{machine['cpu']}, {machine.get('cores', '?')} cores, load {machine.get('load', '?')}, {case['date']}, "
        f"commit {case['commit']}. {case['note']}"
    ).rstrip()
    scores = _rows(table(case["scores"]))
    return [case["title"], "", *scores, "", made, "", f"    {case['command']}", "", where, ""]


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _titled(name: str) -> str:
    return name.replace("_", " ").capitalize()


def _rows(lines: Sequence[Sequence[str]]) -> list[str]:
    heading, *others = lines
    return [_line(heading), _line(["---"] * len(heading)), *map(_line, others)]


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def write(base: str, cases: Mapping[str, Any], *, results: Path = RESULTS, to: Path = PAGE) -> None:
    """Write these cases beside those that were measured before over the same base, and the page that is made of all.

    Cases over another base are dropped, since one page is about one base. The order is that of `GOALS`.
    """
    results.mkdir(parents=True, exist_ok=True)
    path = results / "use_cases.json"
    before = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    known = {**(before["cases"] if before.get("base") == base else {}), **cases}
    ordered = {name: known[name] for name in GOALS if name in known}
    result = {"base": base, "cases": ordered}
    path.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    to.write_text(page(result, recorded(results / SWEEP.name), remarks(results)), encoding="utf-8")


def recorded(path: Path = SWEEP) -> list[dict[str, Any]]:
    """The lines of the sweep; none where there is no such file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


def remarks(results: Path = RESULTS) -> dict[str, str]:
    """What people have written of the figures, by case; nothing where there is no such file."""
    path = results / "remarks.toml"
    return tomllib.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


if __name__ == "__main__":
    write("models/smollm2", {})
