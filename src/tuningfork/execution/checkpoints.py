"""A job's checkpoints, written behind its training: a step does not wait for the disk.

A trainer hands over a copy of the job's state and goes on. Each job has at most one write under way; a checkpoint that
falls due in the meantime is left out, so that a slow disk makes checkpoints rarer and steps no slower. What a crash
costs is the steps since the last one that reached the disk, as ever.
"""

import logging
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from tuningfork.domain.tuning_job import Snapshot
from tuningfork.execution.step_log import StepLog
from tuningfork.training.checkpoint import TrainingState, save_state

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Checkpoints:
    """One job's checkpoints and the log of its steps. Used from one thread; `writers` are those that write.

    Args:
        name: of the job, for the log.
        directory: where checkpoints are kept.
        log: where steps are noted beside them.
        writers: shared by all jobs.

    """

    name: str
    directory: Path
    log: StepLog
    writers: ThreadPoolExecutor
    _unlogged: list[Snapshot] = field(default_factory=list)
    _writing: tuple[Future[None], list[Snapshot]] | None = None

    def note(self, snapshot: Snapshot) -> None:
        """Log this step with the next checkpoint."""
        self._unlogged.append(snapshot)

    @property
    def busy(self) -> bool:
        """Whether the last one has not reached the disk yet."""
        if self._writing is not None and self._writing[0].done():
            self.settle()
        return self._writing is not None

    def save(self, state: TrainingState) -> None:
        """Have this state written, with the steps up to it; nobody else may change its tensors. Not while busy."""
        self.settle()
        snapshots, self._unlogged = self._unlogged, []
        self._writing = self.writers.submit(self._write, snapshots, state), snapshots

    def settle(self) -> None:
        """Wait until nothing is being written. One that failed is logged: the next may go through."""
        if self._writing is None:
            return
        future, snapshots = self._writing
        self._writing = None
        try:
            future.result()
        except OSError:
            # Such as a full disk. A step that is logged twice counts once.
            self._unlogged = snapshots + self._unlogged
            logger.exception("job %s has no checkpoint", self.name, extra={"action": "checkpoint_failed"})

    def _write(self, snapshots: list[Snapshot], state: TrainingState) -> None:
        # First the log: steps beyond the checkpoint are passed over, one without its steps would lose them.
        self.log.append(snapshots)
        save_state(self.directory, state)
