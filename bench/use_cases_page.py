"""`docs/use-cases.md`, made of `bench/results/answers/use_cases.json`: what was wanted, what was reached, all scores.

    python bench/use_cases_page.py     write the page anew


A result holds `base` and `cases` by name. A case holds `title`, `settings`, `adapter`, `training`, `held_out`,
`scores` {who: [{metric: score} for each seed]}, `minutes` {who: [minutes of each tuning]}, and how it came about:
`command`, `date`, `commit`, `machine`, `versions` and `note`. What people have to say of a case's figures is in
`remarks.toml` beside the result.
"""

import json
import statistics
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import report

BASE, TUNED, TRL = "base, told what to do", "tuned", "TRL and PEFT"
# Not in `bench/results` itself: those files make `docs/performance.md`.
RESULTS = report.RESULTS / "answers"
PAGE = report.ROOT / "docs" / "use-cases.md"
ONE_POINT = 0.01

_INTRODUCTION = """\
Made by `make use-cases` from `bench/results/answers`; do not edit. Five uses of a tuned model, with the data and the
programs of [examples](../examples/README.md), over `{base}`. The base is told in its prompt what to do; the tuned
models get the input alone. All answer with temperature 0. A seed shuffles the examples for training and draws the
adapter's first weights. Figures are means over seeds, with the standard deviation where there are several."""

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

    def is_reached(self, tuned: float, base: float) -> bool:
        """Whether the tuned model's mean keeps the bound."""
        if self.at_most is not None:
            return tuned <= self.at_most
        return tuned >= (self.at_least if self.times_base is None else self.times_base * base)

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


def spread(values: Sequence[float]) -> str:
    """Their mean and, of several, the sample's standard deviation."""
    mean = f"{statistics.fmean(values):.3f}"
    return f"{mean} ± {statistics.stdev(values):.3f}" if len(values) > 1 else mean


def table(scores: Mapping[str, Sequence[Scores]]) -> list[list[str]]:
    """A heading, and a line for each metric: its name, and everybody's mean and spread."""
    metrics = list(next(iter(scores.values()))[0])
    lines = [[metric, *(spread([each[metric] for each in runs]) for runs in scores.values())] for metric in metrics]
    return [["", *scores], *lines]


def goals(cases: Mapping[str, Mapping[str, Any]]) -> list[list[str]]:
    """A heading, and a line for each goal of these cases: what is wanted, what is reached, and beside TRL."""
    lines = [["use case", "metric", "wanted", "base", "tuned", "reached", TRL, "within a point of it"]]
    for name, case in cases.items():
        for goal in GOALS.get(name, ()):
            means = {who: statistics.fmean(each[goal.metric] for each in runs) for who, runs in case["scores"].items()}
            base, tuned, peer = means[BASE], means[TUNED], means.get(TRL)
            reached = "yes" if goal.is_reached(tuned, base) else "**no**"
            beside = (
                ["-", "-"] if peer is None else [f"{peer:.3f}", "yes" if goal.is_as_good(tuned, peer) else "**no**"]
            )
            lines.append([_titled(name), goal.metric, goal.wanted(), f"{base:.3f}", f"{tuned:.3f}", reached, *beside])
    return lines


def page(result: Mapping[str, Any], remarks: Mapping[str, str] | None = None) -> str:
    """The whole page; `remarks` is what is to be said of a case's figures, by its name."""
    cases: dict[str, Any] = result["cases"]
    text = [
        "# Use cases",
        "",
        *_INTRODUCTION.format(base=result["base"]).splitlines(),
        "",
        "## Wanted and reached",
        "",
        *_rows(goals(cases)),
        "",
    ]
    for name, case in cases.items():
        text += _section(name, case, (remarks or {}).get(name, ""))
    return "\n".join(text)


def _section(name: str, case: Mapping[str, Any], remark: str) -> list[str]:
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
    lines = [
        f"## {_titled(name)}",
        "",
        case["title"],
        "",
        *scores,
        "",
        made,
        "",
        f"    {case['command']}",
        "",
        where,
        "",
    ]
    return [*lines, *([remark, ""] if remark else [])]


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
    to.write_text(page(result, remarks(results)), encoding="utf-8")


def remarks(results: Path = RESULTS) -> dict[str, str]:
    """What people have written of the figures, by case; nothing where there is no such file."""
    path = results / "remarks.toml"
    return tomllib.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


if __name__ == "__main__":
    PAGE.write_text(
        page(json.loads((RESULTS / "use_cases.json").read_text(encoding="utf-8")), remarks()), encoding="utf-8"
    )
