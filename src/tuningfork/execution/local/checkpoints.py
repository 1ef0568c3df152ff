"""Writes a job's checkpoints in a background thread, so that no training step waits for the disk.

They stay in the job's work directory until the job has ended, or until the job drops them: a trainer that resumes the
job reports them again, in case the server has not stored them.
"""

import logging
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from tuningfork.artifacts.base import ArtifactStore
from tuningfork.domain.artifact import ArtifactRef

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class KeptCheckpoints:
    """The checkpoints of one job. Its methods are called from one thread only.

    Args:
        name: the job's id, for the log.
        artifacts: where checkpoints are kept.
        place: the reference below which checkpoints are kept.
        writers: the threads that write; all jobs share them.
        model: the id of the job's tuned model, for the log.

    """

    name: str
    artifacts: ArtifactStore
    place: ArtifactRef
    writers: ThreadPoolExecutor
    model: str = ""
    _writing: dict[int, Future[None]] = field(default_factory=dict)

    def ref(self, step: int) -> ArtifactRef:
        """The reference of the checkpoint of this step."""
        return self.place.below(f"{step:08}")

    def found(self, last_step: int) -> list[int]:
        """The steps, in order and up to `last_step`, of which an earlier trainer left a complete checkpoint."""
        last = self.ref(last_step)
        return [int(ref.key.rpartition("/")[2]) for ref in self.artifacts.refs_below(self.place) if ref <= last]

    def keep(self, step: int, write: Callable[[Path], None]) -> None:
        """Write the checkpoint of this step in the background. `write` is called with the directory to create."""
        self._writing[step] = self.writers.submit(self._write, step, write)

    def give_up(self, is_needed: Callable[[int], bool]) -> None:
        """Do not write those checkpoints that still wait for the disk and are not needed any more, by their steps.

        Each that waits takes as much memory as an adapter.
        """
        for step, future in [*self._writing.items()]:
            if not is_needed(step) and future.cancel():
                del self._writing[step]

    def drop(self, step: int) -> None:
        """Remove the checkpoint of this step, which is complete."""
        self.artifacts.delete(self.ref(step))

    def completed(self, *, wait: bool = False) -> list[int]:
        """The steps whose checkpoints have been completed since the last call.

        `wait`: first wait until all checkpoints are written. If a checkpoint could not be written, the failure is
        logged, and its step is left out.
        """
        ended = [step for step, future in self._writing.items() if wait or future.done()]
        return [step for step in sorted(ended) if self._is_written(step, self._writing.pop(step))]

    def _write(self, step: int, write: Callable[[Path], None]) -> None:
        with self.artifacts.writing(self.ref(step)) as directory:
            write(directory)

    def _is_written(self, step: int, future: Future[None]) -> bool:
        try:
            future.result()
        except OSError:
            # For example a full disk: training goes on, and the next checkpoint may succeed.
            said = "job %s has no checkpoint of step %d"
            labels = {"action": "checkpoint_failed", "job": self.name, "model": self.model}
            logger.exception(said, self.name, step, extra=labels)
            return False
        return True
