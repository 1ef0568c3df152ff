"""`docs/performance.md` and its chart, made of what lies below `bench/results`."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import chart
import processors
from report import OURS, ROOT, figure

PAGE = ROOT / "docs" / "performance.md"
CHART = ROOT / "docs" / "performance.svg"

Result = Mapping[str, Any]

EXPECTED = {
    "training_step": ("Tuning steps on a CPU", "python bench/training_step.py"),
    "many_jobs": ("Eight jobs at once", "python bench/many_jobs.py"),
    "tutorial_job": ("From create to the first tuned answer", "python bench/tutorial_job.py"),
    "decode": ("Decoding on a CPU", "python bench/decode.py"),
    "llama_cpp": ("Beside llama.cpp, on real weights", "python bench/beside_llama_cpp.py"),
    "prefix": ("Prompts that begin alike", "python bench/prefix.py"),
    "service_overhead": ("The service around the engines", "python bench/service_overhead.py"),
    "many_models": ("Ten thousand tuned models", "python bench/many_models.py"),
    "memory": ("Memory of the two workers", "python bench/memory.py"),
    "gpu": ("Tuning and decoding on a GPU", "python bench/gpu.py --device cuda"),
}
"""In the page's order. Results under other names come behind them."""

_OPENING = """\
# Performance

Made by `make bench` from `bench/results`; do not edit. Every figure is a median of samples that were taken by turns
with those beside it, in one run on the same cores with the same number of threads: the ratios mean something, the
seconds are this machine's. "3 x" says that ours is three times as good: as fast, or as short.

What one thread computes is measured by processor time, which others at work on the same machine disturb less than time
on a clock; the ratios by the clock stand below each table. With several threads, and through a server, it is the clock.

Figures of different kinds of processor stand side by side, the newest of each kind. Where processors have bfloat16
products everybody computes in bfloat16, elsewhere in float32. "Emulated" is a processor with AVX-512 whose libraries
are held to AVX2 (`make bench-avx2`); figures of a real one replace it.

Nothing here is asserted in the test suite, which has no clock. `make bench-quick` shows the main comparisons in five
minutes at most and writes nothing; each table names the command that made it.
"""

_EMPTY = " |  | "
"""Three cells with nothing in them."""


def write(results: Iterable[Result], *, page: Path = PAGE, picture: Path = CHART) -> list[Path]:
    """Write the page and its chart; returns both."""
    known = in_order(results)
    page.write_text(markdown(known), encoding="utf-8")
    picture.write_text(chart.svg(bars(known)), encoding="utf-8")
    return [page, picture]


def in_order(results: Iterable[Result]) -> list[Result]:
    """Those results that the page shows, in its order: by name, then by kind of processor."""
    names = {name: index for index, name in enumerate(EXPECTED)}
    by_name: dict[str, dict[str, Result]] = {}
    for result in results:
        by_name.setdefault(result["name"], {})[result["kind"]] = result
    ordered = sorted(by_name, key=lambda name: (names.get(name, len(names)), name))
    return [by_name[name][kind] for name in ordered for kind in processors.shown(by_name[name])]


def markdown(results: Sequence[Result]) -> str:
    """The whole page, of results in order."""
    parts = [_OPENING]
    if bars(results):
        parts.append("![How many times better ours is, with marks where it was wanted to be](performance.svg)\n")
        parts.append(_summary(results))
    names = dict.fromkeys(result["name"] for result in results)
    parts += [_section([result for result in results if result["name"] == name]) for name in names]
    parts.append(_missing(set(names)))
    return "\n".join(part for part in parts if part)


def bars(results: Sequence[Result]) -> list[chart.Bar]:
    """One for each figure that somebody wanted, on each kind of processor."""
    return [
        chart.Bar(f"{label} ({processors.TITLES[result['kind']]})", reached, wanted)
        for result in results
        for label, (reached, wanted) in _wishes(result).items()
    ]


def _wishes(result: Result) -> dict[str, tuple[float, float]]:
    """What was reached and what was wanted: a ratio, or how far below its bound ours stays."""
    found = {}
    for row in result["rows"]:
        for label, wanted in row["wanted_ratios"].items():
            if label in row["ratios"]:
                found[f"{row['work']}: {label}"] = (row["ratios"][label], wanted)
        if row["at_most"] is not None and row["ours"]:
            found[f"{row['work']}: at most {figure(row['at_most'])} {row['unit']}"] = (
                row["at_most"] / row["ours"],
                1.0,
            )
    return found


def _summary(results: Sequence[Result]) -> str:
    wishes: dict[str, dict[str, tuple[float, float]]] = {}
    for result in results:
        for label, wish in _wishes(result).items():
            wishes.setdefault(label, {})[result["kind"]] = wish
    kinds = [kind for kind in processors.TITLES if any(kind in each for each in wishes.values())]
    heads = [f"{processors.TITLES[kind]}: wanted | reached | " for kind in kinds]
    lines = [f"| what, and beside whom | {' | '.join(heads)} |", "|---" * (1 + 3 * len(kinds)) + "|"]
    for label, found in wishes.items():
        cells = [_verdict(*found[kind]) if kind in found else _EMPTY for kind in kinds]
        lines.append(f"| {label} | {' | '.join(cells)} |")
    return "\n".join(["## Wanted and reached", "", *lines, ""])


def _verdict(reached: float, wanted: float) -> str:
    return f"{wanted:g} x | {reached:.2f} x | {'yes' if reached >= wanted else '**no**'}"


def _section(results: Sequence[Result]) -> str:
    """One comparison, on all kinds of processor that it was measured on."""
    heads = [f"{processors.TITLES[result['kind']]}: ours | theirs | ours is better by" for result in results]
    lines = [f"## {results[0]['title']}", "", f"| work | unit | beside | {' | '.join(heads)} |"]
    lines += ["|---" * (3 + 3 * len(results)) + "|", *_table_rows(results), ""]
    for result in results:
        lines += [f"### {results[0]['title']}: {processors.TITLES[result['kind']]}", "", *_facts(result["rows"])]
        lines += [f"    {result['command']}", "", _circumstances(result), ""]
        notes = dict.fromkeys([*result["caveats"], *(note for row in result["rows"] for note in row["notes"])])
        lines += [f"- {note}" for note in notes] + [""] * bool(notes)
    return "\n".join(lines)


def _table_rows(results: Sequence[Result]) -> list[str]:
    """A line for each work and each who did it beside ours, with the figures of every kind of processor."""
    rows: dict[str, list[Mapping[str, Any] | None]] = {}
    for place, result in enumerate(results):
        for row in result["rows"]:
            rows.setdefault(row["work"], [None] * len(results))[place] = row
    lines = []
    for work, found in rows.items():
        there = [row for row in found if row is not None]
        labels = dict.fromkeys(label for row in there for label in row["peers"]) or {"": None}
        for number, label in enumerate(labels):
            head = f"| {work} | {there[0]['unit']} |" if number == 0 else "| | |"
            cells = [_cells(row, label, is_first=number == 0) for row in found]
            lines.append(f"{head} {label} | {' | '.join(cells)} |")
    return lines


def _cells(row: Mapping[str, Any] | None, label: str, *, is_first: bool) -> str:
    """Three cells of one kind of processor: ours, theirs and the ratio."""
    if row is None:
        return _EMPTY
    bound = f" (wanted: at most {figure(row['at_most'])})" if row["at_most"] is not None else ""
    ours = f"{figure(row['ours'])}{bound}" if is_first else ""
    if label not in row["peers"]:
        return f"{ours}{_EMPTY}"
    wanted = row["wanted_ratios"].get(label)
    goal = f" (wanted: {wanted:g} x)" if wanted else ""
    return f"{ours} | {figure(row['peers'][label])} | {row['ratios'][label]:.2f} x{goal}"


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
    held = machine.get("limits")
    limits = f"; held to AVX2 by {', '.join(f'{name}={value}' for name, value in held.items())}" if held else ""
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
        f"{limits}{threads}{load}. Python {machine['python']}; {'; '.join(sides)}."
    )


def _listed(versions: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in versions.items())


def _missing(names: set[str]) -> str:
    absent = {name: said for name, said in EXPECTED.items() if name not in names}
    if not absent:
        return ""
    lines = [f"| {title} | `{command}` |" for title, command in absent.values()]
    return "\n".join(["## Not measured yet", "", "| what | by which command |", "|---|---|", *lines, ""])
