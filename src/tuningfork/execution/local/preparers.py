"""Prepares the data of jobs in child processes of this machine, one for each job, which ends with the preparation."""

import logging
import queue
import signal
import threading
from dataclasses import dataclass, field

from tuningfork.domain.answer_kind import AnswerKind
from tuningfork.domain.artifact import ArtifactRef
from tuningfork.domain.conversation import Speaker, Turn
from tuningfork.domain.data_statistics import Bucket, DataStatistics, Distribution, DroppedExample
from tuningfork.domain.dataset import DatasetStatistics
from tuningfork.domain.errors import BaseUnusable, Cancelled, TuningforkError, Unavailable
from tuningfork.domain.training_rows import DataFault
from tuningfork.domain.tuning_job import JobId
from tuningfork.execution.base import WorkerDied
from tuningfork.execution.local.child import SILENCE_SECONDS, Child
from tuningfork.execution.local.endings import Ending
from tuningfork.execution.local.messages import LastWords, Pong
from tuningfork.execution.local.preparer_messages import DataPrepared, DataRefused, Prepare, RowsRead
from tuningfork.execution.local.reading_back import reader_of
from tuningfork.execution.local.reading_limit import KEPT_WAITING
from tuningfork.execution.preparation import PreparationRequest, Prepared, PreparedDataset

logger = logging.getLogger(__name__)

MODULE = "tuningfork.execution.local.preparer_process"

_GRACE_SECONDS = 0.3
"""How long a preparer may take to exit after its pipe was closed, before it is killed."""

_KILLED_SECONDS = 30.0
"""How long a preparer may take to end after it was killed, which takes long only where processors are very scarce."""

_read = reader_of(
    *(RowsRead, DataPrepared, DataRefused, LastWords, Pong, Prepared, PreparedDataset, ArtifactRef, AnswerKind),
    *(DatasetStatistics, DataStatistics, Distribution, Bucket, DroppedExample, Turn, Speaker),
)


@dataclass(slots=True)
class _Preparation:
    """A preparation that is under way: the reports of its preparer, how it ended, and errors by which it is ended."""

    answers: "queue.SimpleQueue[object]" = field(default_factory=queue.SimpleQueue)


class LocalPreparers:
    """Implements `execution.preparation.Preparers`.

    Args:
        environment: variables added to this process's own; see `execution/local/environment.py`.
        module: the module that a preparer runs.
        silence_seconds: how long a preparer may leave a ping without an answer before it is killed.

    """

    def __init__(
        self, environment: dict[str, str], module: str = MODULE, *, silence_seconds: float = SILENCE_SECONDS
    ) -> None:
        # The library tokenizers may use all cores: a preparer steps back behind everything else.
        self._environment = {**environment, "TOKENIZERS_PARALLELISM": "true"}
        self._module = module
        self._silence_seconds = silence_seconds
        self._lock = threading.Lock()
        self._under_way: dict[JobId, _Preparation] = {}
        self._closed = False

    def prepare(self, request: PreparationRequest) -> Prepared:
        """See `Preparers.prepare`."""
        preparation = _Preparation()
        with self._lock:
            if self._closed:
                raise _closing()
            if request.job_id in self._under_way:
                raise WorkerDied(f"the data of job {request.job_id} is being prepared already")
            self._under_way[request.job_id] = preparation
        try:
            return self._prepared(request, preparation)
        finally:
            with self._lock:
                del self._under_way[request.job_id]

    def cancel(self, job_id: JobId) -> None:
        """See `Preparers.cancel`."""
        with self._lock:
            if (preparation := self._under_way.get(job_id)) is not None:
                preparation.answers.put(Cancelled("the job was cancelled while its data was being prepared"))

    def close(self) -> None:
        """End all preparations; whoever waits for one gets `WorkerDied`."""
        with self._lock:
            self._closed = True
            for preparation in self._under_way.values():
                preparation.answers.put(_closing())

    def _prepared(self, request: PreparationRequest, preparation: _Preparation) -> Prepared:
        child = Child(
            self._module,
            on_message=preparation.answers.put,
            on_death=preparation.answers.put,
            environment=self._environment,
            read=_read,
            silence_seconds=self._silence_seconds,
            grace_seconds=_GRACE_SECONDS,
            killed_seconds=_KILLED_SECONDS,
        )
        try:
            child.send(Prepare(request), always=True)
            rows: int | None = None
            while True:
                answer = preparation.answers.get()
                if isinstance(answer, DataPrepared):
                    return answer.prepared
                if isinstance(answer, RowsRead):
                    rows = answer.rows
                elif isinstance(answer, Ending):
                    raise _died(request, answer, rows)
                else:
                    error = answer.error if isinstance(answer, DataRefused) else answer
                    assert isinstance(error, TuningforkError), type(error).__name__  # noqa: S101 - a bug of ours
                    raise error
        finally:
            child.close()


def _died(request: PreparationRequest, ending: Ending, rows: int | None) -> TuningforkError:
    """The error of a preparer that ended. `rows`: how many rows it had read; None: it could not use the base yet."""
    labels = {"action": "worker_died", "job": request.job_id}
    logger.warning("the preparer of job %s ended (%s)", request.job_id, ending, extra=labels)
    if ending.exit_code == KEPT_WAITING:
        what = f"the configuration of base model {request.base.name}" if rows is None else f"what follows row {rows}"
        return Unavailable(f"Nothing came for too long of {what}: a file system or object store does not answer.")
    if ending.exit_code != -signal.SIGXCPU:
        return WorkerDied(f"the preparer ended in the middle of its work ({ending})")
    if rows is None:
        return BaseUnusable(
            f"base model {request.base.name} cannot be used: reading its configuration, tokenizer and template took "
            "too long"
        )
    return DataFault(
        f"Counting the tokens of the rows after row {rows} took too long: shorten them, or leave them out."
    )


def _closing() -> WorkerDied:
    return WorkerDied("the server is shutting down; the data is prepared after its restart")
