"""The snapshots of a job beside its checkpoint, one JSON line a step, appended before each checkpoint.

A checkpoint says what the weights are; this says how they came to be, for a server that lost its last writes.
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
    """An append-only file of snapshots. Lines of steps that were done again follow the old ones and win."""

    path: Path

    def append(self, snapshots: Iterable[Snapshot]) -> None:
        """Add these; when this returns they have reached the disk."""
        lines = "".join(
            json.dumps([each.step, each.epoch, each.mean_loss, each.compute_time.isoformat()]) + "\n"
            for each in snapshots
        )
        with self.path.open("a", encoding="utf-8") as file:
            # A line break first ends a line that a crash left torn.
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
    """The snapshot of a line; None for an empty or torn one."""
    try:
        step, epoch, mean_loss, compute_time = json.loads(line)
        return Snapshot(step=step, epoch=epoch, mean_loss=mean_loss, compute_time=datetime.fromisoformat(compute_time))
    except (ValueError, TypeError):
        return None
