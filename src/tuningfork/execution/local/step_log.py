"""The files of a job's snapshots and evaluations beside its savepoint: one JSON line each.

A power cut can undo the last rows in the database. When the job resumes from its savepoint, the server restores them
from these files.
"""

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from tuningfork.domain.evaluation import Evaluation
from tuningfork.domain.tuning_job import Snapshot


@dataclass(frozen=True, slots=True)
class StepLog:
    """An append-only file of snapshots. If a step was repeated, its last line counts."""

    path: Path

    def append(self, snapshots: Iterable[Snapshot]) -> None:
        """Append these snapshots; when this returns they have reached the disk."""
        _append(
            self.path,
            (
                [each.step, each.epoch, each.mean_loss, each.compute_time.isoformat(), each.targets, each.right_targets]
                for each in snapshots
            ),
        )

    def read(self, last_step: int) -> tuple[Snapshot, ...]:
        """The snapshots up to this step, in order of steps; empty if nothing was ever appended."""
        found = {each.step: each for line in _lines(self.path) if (each := _snapshot(line)) is not None}
        return tuple(found[step] for step in sorted(found) if step <= last_step)


@dataclass(frozen=True, slots=True)
class EvaluationLog:
    """An append-only file of evaluations. If a step was evaluated again, its last line counts."""

    path: Path

    def append(self, evaluations: Iterable[Evaluation]) -> None:
        """Append these evaluations; when this returns they have reached the disk."""
        _append(
            self.path,
            (
                [
                    each.step,
                    each.epoch,
                    each.mean_loss,
                    each.targets,
                    each.right_targets,
                    each.compute_time.isoformat(),
                ]
                for each in evaluations
            ),
        )

    def read(self, last_step: int) -> tuple[Evaluation, ...]:
        """The evaluations up to this step, in order of steps; empty if nothing was ever appended."""
        found = {each.step: each for line in _lines(self.path) if (each := _evaluation(line)) is not None}
        return tuple(found[step] for step in sorted(found) if step <= last_step)


def _append(path: Path, rows: Iterable[Sequence[object]]) -> None:
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    with path.open("a", encoding="utf-8") as file:
        # A line break first: it ends a line that a crash left incomplete.
        file.write(f"\n{lines}")
        file.flush()
        os.fsync(file.fileno())


def _lines(path: Path) -> Iterator[Any]:
    """The values of the lines; empty and incomplete lines are left out."""
    if not path.exists():
        return
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            yield json.loads(line)
        except ValueError:
            continue


def _snapshot(values: Any) -> Snapshot | None:
    """The snapshot of a line; None for an incomplete one. Earlier versions wrote no numbers of targets."""
    try:
        step, epoch, mean_loss, compute_time, *predictions = values
        targets, right_targets = predictions or (None, None)
        return Snapshot(
            step=step,
            epoch=epoch,
            mean_loss=mean_loss,
            compute_time=datetime.fromisoformat(compute_time),
            targets=targets,
            right_targets=right_targets,
        )
    except (ValueError, TypeError):
        return None


def _evaluation(values: Any) -> Evaluation | None:
    """The evaluation of a line; None for an incomplete one."""
    try:
        step, epoch, mean_loss, targets, right_targets, compute_time = values
        return Evaluation(
            step=step,
            epoch=epoch,
            mean_loss=mean_loss,
            targets=targets,
            right_targets=right_targets,
            compute_time=datetime.fromisoformat(compute_time),
        )
    except (ValueError, TypeError):
        return None
