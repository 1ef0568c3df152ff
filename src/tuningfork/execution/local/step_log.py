"""The file of a job's snapshots beside its savepoint: one JSON line a step, appended before each savepoint.

A power cut can undo the last snapshots in the database. When the job resumes from its savepoint, the server restores
them from this file.
"""

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from tuningfork.domain.tuning_job import Snapshot


@dataclass(frozen=True, slots=True)
class StepLog:
    """An append-only file of snapshots. If a step was repeated, its last line counts."""

    path: Path

    def append(self, snapshots: Iterable[Snapshot]) -> None:
        """Append these snapshots; when this returns they have reached the disk."""
        lines = "".join(
            json.dumps([each.step, each.epoch, each.mean_loss, each.compute_time.isoformat()]) + "\n"
            for each in snapshots
        )
        with self.path.open("a", encoding="utf-8") as file:
            # A line break first: it ends a line that a crash left incomplete.
            file.write(f"\n{lines}")
            file.flush()
            os.fsync(file.fileno())

    def read(self, last_step: int) -> tuple[Snapshot, ...]:
        """The snapshots up to this step, in order of steps; empty if nothing was ever appended."""
        if not self.path.exists():
            return ()
        found: dict[int, Snapshot] = {}
        for line in self.path.read_text(encoding="utf-8", errors="replace").splitlines():
            snapshot = _parse(line)
            if snapshot is not None and snapshot.step <= last_step:
                found[snapshot.step] = snapshot
        return tuple(found[step] for step in sorted(found))


def _parse(line: str) -> Snapshot | None:
    """The snapshot of a line; None for an empty or incomplete one."""
    try:
        step, epoch, mean_loss, compute_time = json.loads(line)
        return Snapshot(step=step, epoch=epoch, mean_loss=mean_loss, compute_time=datetime.fromisoformat(compute_time))
    except (ValueError, TypeError):
        return None
