"""A preparer: a process that reads the data of one job, within limits, and ends.

Rows come from whoever may tune, and tokenizer and template with the base. What they do to time and memory they do in
this process, which the system ends at its limits.
"""

import errno
import logging
import os
from collections.abc import Callable, Generator, Iterator
from dataclasses import replace
from typing import Any

from tuningfork.domain.base_model import BaseModel
from tuningfork.domain.errors import BaseUnusable, InternalError, ResourceExhausted, TuningforkError
from tuningfork.domain.exhaustion import is_out_of_memory, reason_of
from tuningfork.execution.local import worker
from tuningfork.execution.local.dataset_making import DatasetMaking
from tuningfork.execution.local.environment import RENDERING_SECONDS, RENDERING_VARIABLE, artifacts_in
from tuningfork.execution.local.preparer_messages import DataPrepared, DataRefused, Prepare, PreparerReport, RowsRead
from tuningfork.execution.local.process_limits import limit_memory, limit_time
from tuningfork.execution.local.process_names import PREPARER, name_this_process
from tuningfork.execution.local.reading_limit import LimitedSource, ReadingLimit
from tuningfork.execution.preparation import PreparationRequest, Prepared
from tuningfork.modeling.describing import describe
from tuningfork.modeling.token_counting import TokenCounter

logger = logging.getLogger(__name__)

PREPARER_BYTES = 4 * 2**30
"""What a preparer may take besides what it starts with."""

_BATCH_SECONDS = 300
"""How long a batch may take, in seconds of computing. With usual templates, the longest row takes seconds."""

_FULL = (errno.ENOSPC, errno.EDQUOT)


class Preparer:
    """Implements `worker.Worker`: prepares the data of one request."""

    def __init__(self) -> None:
        self._request: PreparationRequest | None = None
        self._making: Generator[int, None, Prepared] | None = None

    @property
    def idle(self) -> bool:
        """Whether nothing was asked for, or all of it is done."""
        return self._making is None

    def obey(self, command: Prepare) -> Iterator[PreparerReport]:
        """Read what describes the base; the rows are read by `advance`."""
        request = command.request
        seconds = int(os.environ.get(RENDERING_VARIABLE, RENDERING_SECONDS))
        limit_memory(PREPARER_BYTES)
        limit_time(3 * seconds)
        waits = ReadingLimit(request.patience_seconds)
        waits.start()
        yield from self._guarded(request, lambda: self._open(request, waits))

    def advance(self) -> Iterator[PreparerReport]:
        """Make the next batch of examples."""
        making, request = self._making, self._request
        if making is not None and request is not None:
            limit_time(_BATCH_SECONDS)
            yield from self._guarded(request, lambda: self._continue(making))

    def _open(self, request: PreparationRequest, waits: ReadingLimit) -> PreparerReport:
        try:
            with waits.opening():
                counter = TokenCounter(describe(request.base, tries_modules=False))
        except Exception as error:
            if is_out_of_memory(error):
                raise
            raise _unusable(request.base, error) from error
        self._request = request
        validation = None if request.validation is None else LimitedSource(request.validation, waits)
        limited = replace(request, training=LimitedSource(request.training, waits), validation=validation)
        self._making = DatasetMaking(limited, counter, artifacts_in(os.environ)).run()
        return RowsRead(0)

    def _continue(self, making: Generator[int, None, Prepared]) -> PreparerReport:
        try:
            return RowsRead(next(making))
        except StopIteration as ended:
            self._making = None
            return DataPrepared(ended.value)

    def _guarded(self, request: PreparationRequest, work: Callable[[], PreparerReport]) -> Iterator[PreparerReport]:
        """Yield what the work reports; an error becomes a report too, unless memory ran out, which ends the process."""
        try:
            report = work()
        except Exception as error:
            if is_out_of_memory(error):
                raise
            self._making = None
            report = DataRefused(_as_tuningfork_error(request, error))
        yield report


def _unusable(base: BaseModel, error: Exception) -> BaseUnusable:
    if isinstance(error, BaseUnusable):
        return error
    said = error.message if isinstance(error, TuningforkError) else f"{type(error).__name__}: {error}"
    return BaseUnusable(f"base model {base.name} cannot be used: {said}")


def _as_tuningfork_error(request: PreparationRequest, error: Exception) -> TuningforkError:
    if isinstance(error, TuningforkError):
        return error
    if isinstance(error, OSError) and error.errno in _FULL:
        return ResourceExhausted(
            "The server's disk is full, so the examples could not be written. Try again when its operator has made room"
        )
    labels: dict[str, Any] = {"action": "preparing_failed", "job": request.job_id}
    logger.error("the data of job %s could not be prepared", request.job_id, exc_info=error, extra=labels)
    return InternalError(f"the data could not be prepared: {reason_of(error)}")


if __name__ == "__main__":
    name_this_process(PREPARER)
    worker.step_back(worker.PREPARER_NICENESS)
    worker.run(Preparer(), with_torch=False)
