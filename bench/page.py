"""`docs/performance.md` and its chart, made of what lies below `bench/results`."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import chart
from report import OURS, ROOT, figure

PAGE = ROOT / "docs" / "performance.md"
CHART = ROOT / "docs" / "performance.svg"

Result = Mapping[str, Any]

EXPECTED = {
    "training_step": ("Tuning steps on a CPU", "python bench/training_step.py"),
    "many_jobs": ("Eight jobs at once", "python bench/many_jobs.py"),
    "tutorial_job": ("From create to the first tuned answer", "python bench/tutorial_job.py"),
    "decode": ("Decoding on a CPU", "python bench/decode.py"),
    "prefix": ("Prompts that begin alike", "python bench/prefix.py"),
    "service_overhead": ("The service around the engines", "python bench/service_overhead.py"),
    "many_models": ("Ten thousand tuned models", "python bench/many_models.py"),
    "gpu": ("Tuning and decoding on a GPU", "python bench/gpu.py --device cuda"),
}
"""In the page's order. Results under other names come behind them."""

_OPENING = """\
# Performance

Made by `make bench` from `bench/results`; do not edit. Every figure is a median of samples that were taken by turns
with those beside it, in one run on the same cores with the same number of threads: the ratios mean something, the
seconds are this machine's. "3 x" says that ours is three times as good: as fast, or as short.

Machines are often shared; "by processor time" compares what the work took of the processor, which others at work
beside it disturb less.

Nothing here is asserted in the test suite, which has no clock. `make bench-quick` shows the main comparisons in a few
minutes and writes nothing; each table names the command that made it.
"""


def write(results: Iterable[Result], *, page: Path = PAGE, picture: Path = CHART) -> list[Path]:
    """Write the page and its chart; returns both."""
    known = in_order(results)
    page.write_text(markdown(known), encoding="utf-8")
    picture.write_text(chart.svg(bars(known)), encoding="utf-8")
    return [page, picture]


def in_order(results: Iterable[Result]) -> list[Result]:
    """As the page has them."""
    places = {name: index for index, name in enumerate(EXPECTED)}
    return sorted(results, key=lambda result: (places.get(result["name"], len(places)), result["name"]))


def markdown(results: Sequence[Result]) -> str:
    """The whole page."""
    parts = [_OPENING]
    if marks := bars(results):
        parts.append("![How many times better ours is, with marks where it was wanted to be](performance.svg)\n")
        parts.append(_summary(marks))
    parts += [_section(result) for result in results]
    parts.append(_missing({result["name"] for result in results}))
    return "\n".join(part for part in parts if part)


def bars(results: Sequence[Result]) -> list[chart.Bar]:
    """One for each figure that somebody wanted: a ratio, or how far below its bound ours stays."""
    found = []
    for result in results:
        for row in result["rows"]:
            for label, wanted in row["wanted_ratios"].items():
                if label in row["ratios"]:
                    found.append(chart.Bar(f"{row['work']}: {label}", row["ratios"][label], wanted))
            if row["at_most"] is not None and row["ours"]:
                text = f"{row['work']}: at most {figure(row['at_most'])} {row['unit']}"
                found.append(chart.Bar(text, row["at_most"] / row["ours"], 1.0))
    return found


def _summary(marks: Sequence[chart.Bar]) -> str:
    lines = ["| what, and beside whom | wanted | reached | |", "|---|---|---|---|"]
    for mark in marks:
        verdict = "yes" if mark.reached >= mark.wanted else "**no**"
        lines.append(f"| {mark.label} | {mark.wanted:g} x | {mark.reached:.2f} x | {verdict} |")
    return "\n".join(["## Wanted and reached", "", *lines, ""])


def _section(result: Result) -> str:
    lines = [f"## {result['title']}", "", "| work | unit | ours | beside | theirs | ours is better by | wanted |"]
    lines.append("|---|---|---|---|---|---|---|")
    for row in result["rows"]:
        lines += _table_rows(row)
    lines += ["", *_facts(result["rows"]), f"    {result['command']}", "", _circumstances(result), ""]
    notes = dict.fromkeys([*result["caveats"], *(note for row in result["rows"] for note in row["notes"])])
    lines += [f"- {note}" for note in notes]
    return "\n".join([*lines, ""]) if notes else "\n".join(lines)


def _table_rows(row: Mapping[str, Any]) -> list[str]:
    ours = f"| {row['work']} | {row['unit']} | {figure(row['ours'])} |"
    if not row["peers"]:
        return [f"{ours} | | | {row['wanted']} |"]
    lines = []
    for label, median in row["peers"].items():
        wanted = row["wanted_ratios"].get(label)
        goal = f"{wanted:g} x" if wanted else row["wanted"] if row["at_most"] is not None and not lines else ""
        head = ours if not lines else "| | | |"
        lines.append(f"{head} {label} | {figure(median)} | {row['ratios'][label]:.2f} x | {goal} |")
    return lines


def _facts(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    lines = []
    for row in rows:
        if row["facts"]:
            said = "; ".join(f"{key}: {value}" for key, value in row["facts"].items())
            lines.append(f"- {row['work']}: {said}.")
    return [*lines, ""] if lines else []


def _circumstances(result: Result) -> str:
    machine = result["machine"]
    family = f", family {machine['family']} model {machine['model']}" if machine.get("family") else ""
    flags = f" ({', '.join(machine['flags'])})" if machine.get("flags") else ""
    threads = f"; {result['threads']} thread{'s' * (result['threads'] != 1)} each" if result["threads"] else ""
    accelerator = f"; {machine['accelerator']}" if machine.get("accelerator") else ""
    load = f"; load average {machine['load']:g} at the end" if "load" in machine else ""
    own = result["versions"][OURS]
    differing = {
        label: {name: version for name, version in found.items() if own.get(name) != version}
        for label, found in result["versions"].items()
        if label != OURS
    }
    sides = [f"ours with {_listed(own)}"]
    sides += [f"{label} with {_listed(found)}" for label, found in differing.items() if found]
    cores = f"{machine['cores']} cores, {machine['memory_gib']} GiB"
    return (
        f"Made on {result['date']} at commit {result['commit']}: {machine['cpu']}{family}{flags}, {cores}{accelerator}"
        f"{threads}{load}. Python {machine['python']}; {'; '.join(sides)}."
    )


def _listed(versions: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in versions.items())


def _missing(names: set[str]) -> str:
    absent = {name: said for name, said in EXPECTED.items() if name not in names}
    if not absent:
        return ""
    lines = [f"| {title} | `{command}` |" for title, command in absent.values()]
    return "\n".join(["## Not measured yet", "", "| what | by which command |", "|---|---|", *lines, ""])
