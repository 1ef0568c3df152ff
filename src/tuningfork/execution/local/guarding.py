"""Runs the work of a generator's commands, and turns their errors into reports."""

import logging
from collections.abc import Callable, Iterator
from typing import Any

from tuningfork.domain.errors import InternalError, TuningforkError
from tuningfork.domain.exhaustion import is_out_of_memory, reason_of
from tuningfork.execution.local.messages import GeneratorReport, Refused
from tuningfork.execution.local.preparing import Prepared

logger = logging.getLogger(__name__)


def guarded(request_id: str | None, work: Iterator[GeneratorReport]) -> Iterator[GeneratorReport]:
    """Yield the reports of `work`; an exception becomes a `Refused` report for the request."""
    try:
        yield from work
    except TuningforkError as error:
        if request_id:
            yield Refused.of(request_id, error)
        else:
            logger.error("base model could not be loaded: %s", error, extra={"action": "load_failed"})  # noqa: TRY400
    except Exception as error:
        told = None if is_out_of_memory(error) else error
        logger.error(  # noqa: TRY400 - running out of memory needs no traceback
            "command failed: %s", reason_of(error), exc_info=told, extra={"action": "command_failed"}
        )
        if request_id:
            yield Refused(request_id, InternalError(f"the generator failed: {reason_of(error)}"))


def continued(prepared: Prepared, proceed: Callable[[Any], Iterator[GeneratorReport]]) -> Iterator[GeneratorReport]:
    """Continue with what was prepared; an error in preparing is raised."""
    if prepared.error is not None:
        raise prepared.error
    yield from proceed(prepared.result)


def done_with(work: Callable[[], object]) -> Iterator[GeneratorReport]:
    """Do some work that has nothing to report."""
    work()
    yield from ()
