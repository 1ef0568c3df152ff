"""Writes a job's savepoints in a background thread, so that no training step waits for the disk.

A trainer passes a copy of the job's state and goes on training. Each job has at most one write in progress. A savepoint
that is due during a write is skipped: a slow disk makes savepoints rarer, but steps no slower. After a crash, the steps
since the last complete savepoint are repeated.
"""

import logging
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from tuningfork.artifacts.base import ArtifactStore
from tuningfork.domain.artifact import ArtifactRef
from tuningfork.domain.evaluation import Evaluation
from tuningfork.domain.snapshot_grid import SnapshotGrid
from tuningfork.domain.tuning_job import Snapshot
from tuningfork.execution.local.step_log import EvaluationLog, StepLog
from tuningfork.training.savepoint import TrainingState, save_state

logger = logging.getLogger(__name__)

_STEP_LOG = "steps.jsonl"
_EVALUATION_LOG = "evaluations.jsonl"


@dataclass(slots=True)
class Savepoints:
    """The savepoints of one job, each with logs of its steps and of its evaluations. Called from one thread only.

    Each savepoint is an artifact of its own, named by its step; once it is complete, the one before is removed.

    Args:
        name: the job's id, for the log.
        artifacts: where savepoints are kept.
        place: the reference below which savepoints are kept.
        writers: the threads that write; all jobs share them.
        model: the id of the job's tuned model, for the log.
        write: writes a state into a directory.
        grid: which of the job's snapshots are kept.

    """

    name: str
    artifacts: ArtifactStore
    place: ArtifactRef
    writers: ThreadPoolExecutor
    model: str = ""
    write: Callable[[Path, TrainingState], None] = save_state
    grid: SnapshotGrid = SnapshotGrid(1)
    snapshots: list[Snapshot] = field(default_factory=list)
    """The snapshots so far that `grid` keeps, and the last one; also those of earlier trainers."""
    evaluations: list[Evaluation] = field(default_factory=list)
    """The evaluations so far, in the order of their steps; also those of earlier trainers."""
    _writing: Future[None] | None = None

    def last(self) -> ArtifactRef | None:
        """The savepoint to resume from; None if there is none."""
        return max(self.artifacts.refs_below(self.place), default=None)

    def last_step(self) -> int:
        """The step of the savepoint to resume from; 0 if there is none."""
        last = self.last()
        return 0 if last is None else int(last.key.rpartition("/")[2])

    def recall(self, directory: Path, step: int) -> None:
        """Read the snapshots and evaluations up to this step from the logs in a savepoint's directory."""
        self.snapshots[:] = self.grid.thin(StepLog(directory / _STEP_LOG).read(step))
        self.evaluations[:] = EvaluationLog(directory / _EVALUATION_LOG).read(step)

    def discard(self) -> None:
        """Remove all savepoints."""
        self.artifacts.delete(self.place)

    def note(self, snapshot: Snapshot) -> None:
        """Add a snapshot to log with the next savepoint, in place of the last one if `grid` does not keep that."""
        if self.snapshots and not self.grid.holds(self.snapshots[-1].step):
            self.snapshots.pop()
        self.snapshots.append(snapshot)

    def note_evaluation(self, evaluation: Evaluation) -> None:
        """Add an evaluation to log with the next savepoint, in place of an earlier one of the same step."""
        self.evaluations[:] = [each for each in self.evaluations if each.step != evaluation.step]
        self.evaluations.append(evaluation)

    def labels(self, action: str) -> dict[str, str]:
        """What a record of the log about this job has beside its message."""
        return {"action": action, "job": self.name, "model": self.model}

    @property
    def busy(self) -> bool:
        """Whether a savepoint is still being written."""
        if self._writing is not None and self._writing.done():
            self.settle()
        return self._writing is not None

    def save(self, state: TrainingState) -> None:
        """Begin to write this state, and the snapshots and evaluations up to it; not while `busy`.

        The state's tensors must not be changed any more.
        """
        self.settle()
        self._writing = self.writers.submit(self._write, tuple(self.snapshots), tuple(self.evaluations), state)

    def settle(self) -> None:
        """Wait until nothing is being written. A failed write is logged, and the next savepoint is written as usual."""
        if self._writing is None:
            return
        writing, self._writing = self._writing, None
        try:
            writing.result()
        except OSError:
            # For example a full disk.
            logger.exception("job %s has no savepoint", self.name, extra=self.labels("savepoint_failed"))

    def _write(
        self, snapshots: tuple[Snapshot, ...], evaluations: tuple[Evaluation, ...], state: TrainingState
    ) -> None:
        ref = self.place.below(f"{state.step:08}")
        with self.artifacts.writing(ref) as directory:
            directory.mkdir(mode=0o700)
            StepLog(directory / _STEP_LOG).append(snapshots)
            if evaluations:
                EvaluationLog(directory / _EVALUATION_LOG).append(evaluations)
            self.write(directory, state)
        for earlier in self.artifacts.refs_below(self.place):
            if earlier < ref:
                self.artifacts.delete(earlier)
