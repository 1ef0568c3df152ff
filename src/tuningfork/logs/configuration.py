"""Sets up the log of this process, on standard error."""

import logging
import sys
import threading
from contextlib import suppress
from types import TracebackType

from tuningfork.logs.access import ACCESS_LOGGER
from tuningfork.logs.formats import LogFormat, formatter
from tuningfork.logs.repeated_records import RepeatedRecords
from tuningfork.logs.request_ids import AddRequestId

_OWN_HANDLERS = ("transformers", "huggingface_hub")
"""Libraries that write their log by themselves."""

_TALKATIVE = ("alembic", "uvicorn")
"""What these libraries log at a start is of no use to an operator."""

logger = logging.getLogger(__name__)


def configure(level: str, form: LogFormat, role: str, *, access: bool = True) -> None:
    """Write the log of this process to standard error, in place of what was set up before.

    Python's warnings and the error that ends a thread or the process become records too.

    Args:
        level: the least level that is logged.
        form: how records are written.
        role: what the process is, such as `server` or `trainer`.
        access: whether each request is logged.

    """
    handler = _Handler()
    is_debug = level.lower() == "debug"
    handler.setFormatter(formatter(form, role, shows_all=is_debug))
    handler.addFilter(AddRequestId())
    handler.addFilter(RepeatedRecords(handler))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.captureWarnings(True)
    for name in _OWN_HANDLERS:
        logging.getLogger(name).handlers.clear()
        logging.getLogger(name).propagate = True
    if not is_debug:
        for name in _TALKATIVE:
            logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger(ACCESS_LOGGER).setLevel(logging.NOTSET if access else logging.WARNING)
    sys.excepthook = _log_last_error
    threading.excepthook = _log_thread_error


class _Handler(logging.StreamHandler):  # type: ignore[type-arg]
    """Writes records to standard error. One that cannot be written is left out, since an error would show its text."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """Say that a record was lost, unless the reader of the log is gone."""
        if isinstance(sys.exc_info()[1], OSError):
            return
        lost = logging.LogRecord(record.name, logging.ERROR, "", 0, "a record could not be written", None, None)
        with suppress(OSError, ValueError):
            self.stream.write(self.format(lost) + self.terminator)


def _log_last_error(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)
    else:
        logger.critical("an error has ended the process", exc_info=(kind, error, trace), extra={"action": "ended"})


def _log_thread_error(ended: threading.ExceptHookArgs) -> None:
    if ended.exc_value is not None and not issubclass(ended.exc_type, SystemExit):
        trace = (ended.exc_type, ended.exc_value, ended.exc_traceback)
        logger.error("an error has ended a thread", exc_info=trace, extra={"action": "thread_ended"})
