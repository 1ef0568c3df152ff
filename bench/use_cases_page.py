"""`docs/use-cases.md`, made of `bench/results/answers`: what was wanted, what was reached, all scores.

    python bench/use_cases_page.py     write the page anew

`runs.jsonl` has the runs that `use_cases.py` has measured (`use_cases_runs.py`), `sweep.jsonl` the settings that
`use_cases_sweep.py` has tried, and `remarks.toml` what people have to say of a case's figures.
"""

import importlib
import json
import statistics
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import report
import use_cases_runs
from use_cases_runs import BASE, RESULTS, TRL, TUNED, USUAL_ADAPTER, Line, Measured, Scores, data_of, settings_of

SWEEP = RESULTS / "sweep.jsonl"
PAGE = report.ROOT / "docs" / "use-cases.md"
OF_PAGE = "models/smollm2"
"""The base that the page is about."""
TUTORIAL = "tutorial"
"""The tutorial's job, of which settings are tried too; it has no goal over this base."""
ONE_POINT = 0.01
_YES = {True: "yes", False: "**no**", None: "-"}
_TRIED = ("learning_rate", "alpha", "rank", "batch_size", "epoch")

_INTRODUCTION = """\
Made from `bench/results/answers` by `make use-cases` or `bench/use_cases_page.py`; do not edit.

Five uses of a tuned model, with the data and the
programs of [examples](../examples/README.md), over `{base}`. The base is told in its prompt what to do; the tuned
models get the input alone. All answer with temperature 0. A seed shuffles the examples for training and draws the
adapter's first weights. Figures are means over seeds, with the standard deviation where there are several.

A case that was not measured through a service is judged by its program's settings among those that were tried, with
both engines in one process (`bench/use_cases_sweep.py`)."""


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
    runs: Sequence[Line],
    sweep: Sequence[Mapping[str, Any]] = (),
    remarks: Mapping[str, str] | None = None,
    *,
    base: str = OF_PAGE,
) -> str:
    """The whole page.

    `runs` are lines of `runs.jsonl`, `sweep` those of `sweep.jsonl`; where no tuned model of a case was measured
    through a service, the sweep's lines with the settings of its program stand for it. Lines of other examples for
    training than a case has now are left out. `remarks` is what is to be said of a case, by its name.
    """
    found = {name: use_cases_runs.measured(runs, base, name) for name in GOALS}
    cases = {name: case for name, case in found.items() if case and TUNED in case.scores}
    data = {name: data_of(name) for name in CASES}
    lines = [line for line in sweep if f"models/{line['base']}" == base and line["data"] == data.get(line["case"])]
    asked = {name: case.scores if case else {} for name, case in found.items()}
    scores = {name: asked[name] if name in cases else {**asked[name], **swept(lines, name)} for name in GOALS}
    text = [
        "# Use cases",
        "",
        *_INTRODUCTION.format(base=base).splitlines(),
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
        and {"rank": line["rank"], "alpha": line["alpha"]} == USUAL_ADAPTER
    ]
    return {who: found for who, found in ((BASE, base), (TUNED, tuned)) if found}


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


def _measured(case: Measured) -> list[str]:
    """What was measured through a service."""
    module = importlib.import_module(case.name)
    settings = ", ".join(f"{name} {value}" for name, value in module.SETTINGS.items())
    adapter = "; rank {rank}, alpha {alpha:g}".format(**case.adapter) if case.adapter else ""
    seeds = "; ".join(f"{who} {len(runs)}" for who, runs in case.scores.items() if who != BASE)
    made = [
        f"{len(module.TRAINING)} examples for training, {len(module.PROMPTS)} held out. {settings}{adapter}.",
        f"Seeds: {seeds}. {_tuning_minutes(case)}",
    ]
    where = (
        f"{', '.join(case.every('cpu'))}; {', '.join(case.every('date'))}; commit {', '.join(case.every('commit'))}."
    )
    commands = [f"    {each}" for each in case.every("command")]
    scores = _rows(table(case.scores))
    return [(module.__doc__ or "").strip(), "", *scores, "", " ".join(made), "", *commands, "", where, ""]


def _tuning_minutes(case: Measured) -> str:
    """A sentence: what one tuning took each of them, of processor time where it is known of all."""
    for clock, words in (("processor_seconds", "of processor time"), ("seconds", "by the clock")):
        taken = {who: case.minutes(who, clock) for who in case.scores if who != BASE}
        if taken and None not in taken.values():
            return f"One tuning took {words}: {'; '.join(f'{who} {each:.1f} minutes' for who, each in taken.items())}."
    return ""


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _titled(name: str) -> str:
    return name.replace("_", " ").capitalize()


def _rows(lines: Sequence[Sequence[str]]) -> list[str]:
    heading, *others = lines
    return [_line(heading), _line(["---"] * len(heading)), *map(_line, others)]


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def write(*, results: Path = RESULTS, to: Path = PAGE) -> None:
    """Write the page of what is in the folder of results."""
    runs = use_cases_runs.recorded(results / use_cases_runs.RUNS.name)
    to.write_text(page(runs, recorded(results / SWEEP.name), remarks(results)), encoding="utf-8")


def recorded(path: Path = SWEEP) -> list[dict[str, Any]]:
    """The lines of the sweep; none where there is no such file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


def remarks(results: Path = RESULTS) -> dict[str, str]:
    """What people have written of the figures, by case; nothing where there is no such file."""
    path = results / "remarks.toml"
    return tomllib.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


if __name__ == "__main__":
    write()
