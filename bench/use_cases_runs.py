"""The runs that `use_cases.py` has measured: one line each in `bench/results/answers/runs.jsonl`.

A run is a model that was asked a case's held-out questions: the base, told what to do, or one that was tuned with a
seed, by our service or by TRL. Its line is written when it ends, so that an interruption loses one run at most and the
same command goes on with the next. A line holds:

    base, case            the base model's name and the case's
    asked                 a digest of the held-out questions
    who                   one of `BASE`, `TUNED` and `TRL`
    data, settings, seed  a digest of the examples for training, the hyperparameters, the seed; null for the base
    adapter               its rank and alpha; null for the base
    scores                {metric: score}
    seconds, processor_seconds   what tuning took, by a clock and of processor time; null where nobody knows
    command, date, commit, cpu, versions

Lines of other data, questions or settings than a case has now stay in the file and are not shown.
"""

import fcntl
import hashlib
import importlib
import json
import statistics
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import report

sys.path.insert(0, str(report.ROOT / "examples"))

BASE, TUNED, TRL = "base, told what to do", "tuned", "TRL and PEFT"
# Not in `bench/results` itself: those files make `docs/performance.md`.
RESULTS = report.RESULTS / "answers"
RUNS = RESULTS / "runs.jsonl"
USUAL_ADAPTER = {"rank": 8, "alpha": 16.0}
"""The adapter of bases that no catalog describes."""

Line = Mapping[str, Any]
Scores = dict[str, float]


@dataclass(frozen=True, slots=True)
class Measured:
    """The runs of one case over one base, with its present data, questions and settings; there is one at least."""

    name: str
    runs: tuple[Line, ...]

    @property
    def scores(self) -> dict[str, list[Scores]]:
        """By who answered, one for each seed."""
        found = {who: [run["scores"] for run in self._of(who)] for who in (BASE, TUNED, TRL)}
        return {who: scores for who, scores in found.items() if scores}

    @property
    def adapter(self) -> Mapping[str, float] | None:
        """The shape of our adapters; None: no model was tuned."""
        return next((run["adapter"] for run in self._of(TUNED)), None)

    def minutes(self, who: str, clock: str) -> float | None:
        """What one tuning took on the average, by `seconds` or `processor_seconds`; None: that is not known."""
        taken = [run[clock] for run in self._of(who)]
        return statistics.fmean(taken) / 60 if taken and None not in taken else None

    def every(self, field: str) -> list[Any]:
        """The values that the field has in these runs, each once."""
        return list(dict.fromkeys(run[field] for run in self.runs))

    def _of(self, who: str) -> list[Line]:
        return sorted((run for run in self.runs if run["who"] == who), key=lambda run: run["seed"] or 0)


def recorded(path: Path = RUNS) -> list[dict[str, Any]]:
    """The lines of a file; none where there is no such file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


def append(line: Line, path: Path) -> None:
    """Add a line to a file, to which another process may be adding one too."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write(json.dumps(line, ensure_ascii=False) + "\n")


def key(base: str, name: str, who: str, seed: int | None) -> dict[str, Any]:
    """The fields that say which run it is."""
    tuned_with = {"data": None, "settings": None}
    if who != BASE:
        tuned_with = {"data": data_of(name), "settings": settings_of(name)}
    return {"base": base, "case": name, "asked": asked_of(name), "who": who, "seed": seed, **tuned_with}


def is_known(wanted: Line, lines: Iterable[Line]) -> bool:
    """Whether there is a line of the run with this key."""
    return any(all(line[field] == value for field, value in wanted.items()) for line in lines)


def measured(lines: Sequence[Line], base: str, name: str) -> Measured | None:
    """The runs of a case that are comparable with each other; None: there are none.

    TRL's runs are, if its adapter had the shape of ours.
    """
    found = [line for line in lines if is_known(key(base, name, line["who"], line["seed"]), [line])]
    ours = next((line["adapter"] for line in found if line["who"] == TUNED), None)
    found = [line for line in found if line["who"] != TRL or ours in (None, line["adapter"])]
    return Measured(name, tuple(found)) if found else None


def data_of(name: str) -> str:
    """Tells the present state of a case's examples for training from others."""
    # The tutorial has a module of another name.
    return _digest(importlib.import_module({"tutorial": "tutorial_case"}.get(name, name)).TRAINING)


def asked_of(name: str) -> str:
    """Tells the present state of a case's held-out examples and of what the base is told from others."""
    case = importlib.import_module(name)
    return _digest([case.HELD_OUT, case.PROMPTS, case.BASE_PROMPTS, case.MAX_TOKENS])


def settings_of(name: str) -> dict[str, Any]:
    """The hyperparameters at the top of a use case's program."""
    settings: dict[str, Any] = importlib.import_module(name).SETTINGS
    return settings


def _digest(content: Sequence[Any]) -> str:
    return hashlib.sha256(json.dumps(list(content), sort_keys=True).encode()).hexdigest()[:12]
