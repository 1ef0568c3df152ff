"""Reads uploaded files in child processes of this machine, one for each file, which ends with it."""

import logging
import queue
import signal
import threading
from pathlib import Path

from tuningfork.domain.errors import InvalidArgument, TuningforkError
from tuningfork.domain.staged_dataset import ColumnRole, ReadFile, RowsKind, StagedColumn, UnreadRow
from tuningfork.execution.base import WorkerDied
from tuningfork.execution.local.child import SILENCE_SECONDS, Child
from tuningfork.execution.local.endings import Ending
from tuningfork.execution.local.file_reader_messages import FileRefused, FileWasRead, ReadThis
from tuningfork.execution.local.messages import LastWords, Pong
from tuningfork.execution.local.reading_back import reader_of

logger = logging.getLogger(__name__)

MODULE = "tuningfork.execution.local.file_reader_process"

MOST_AT_ONCE = 2
"""How many files are read at a time; others wait."""

_GRACE_SECONDS = 0.3
_KILLED_SECONDS = 30.0

_read = reader_of(FileWasRead, FileRefused, LastWords, Pong, ReadFile, RowsKind, StagedColumn, ColumnRole, UnreadRow)


class LocalFileReaders:
    """Implements `execution.file_reading.FileReaders`.

    Args:
        environment: variables added to this process's own; see `execution/local/environment.py`.
        module: the module that a reader runs.
        silence_seconds: how long a reader may leave a ping without an answer before it is killed.

    """

    def __init__(
        self, environment: dict[str, str], module: str = MODULE, *, silence_seconds: float = SILENCE_SECONDS
    ) -> None:
        self._environment = environment
        self._module = module
        self._silence_seconds = silence_seconds
        self._places = threading.BoundedSemaphore(MOST_AT_ONCE)

    def read(self, file: Path, name: str, to: Path, *, header: bool | None = None) -> ReadFile:
        """See `FileReaders.read`. Waits while other files are read."""
        answers: queue.SimpleQueue[object] = queue.SimpleQueue()
        with self._places:
            child = Child(
                self._module,
                on_message=answers.put,
                on_death=answers.put,
                environment=self._environment,
                read=_read,
                silence_seconds=self._silence_seconds,
                grace_seconds=_GRACE_SECONDS,
                killed_seconds=_KILLED_SECONDS,
            )
            try:
                child.send(ReadThis(file, name, to, header), always=True)
                return _outcome(answers.get())
            finally:
                child.close()


def _outcome(answer: object) -> ReadFile:
    if isinstance(answer, FileWasRead):
        return answer.read
    if isinstance(answer, Ending):
        logger.warning("the reader of a file ended (%s)", answer, extra={"action": "worker_died"})
        if answer.exit_code == -signal.SIGXCPU:
            raise InvalidArgument("Reading the file took too long: shorten it, or save it as CSV.")
        raise WorkerDied(f"the reader of the file ended in the middle of its work ({answer})")
    error = answer.error if isinstance(answer, FileRefused) else answer
    assert isinstance(error, TuningforkError), type(error).__name__  # noqa: S101 - a bug of ours
    raise error
