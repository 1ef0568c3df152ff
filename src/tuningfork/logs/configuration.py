"""Sets up the log of this process, on standard error."""

import logging
import sys
import threading
from contextlib import suppress
from types import TracebackType
from typing import TextIO

from tuningfork.logs.access import ACCESS_LOGGER
from tuningfork.logs.formats import LogFormat, formatter
from tuningfork.logs.line_writer import LineWriter
from tuningfork.logs.repeated_records import RepeatedRecords
from tuningfork.logs.request_ids import AddRequestId

_OWN_HANDLERS = ("transformers", "huggingface_hub")
"""Libraries that write their log by themselves."""

_TALKATIVE = ("alembic", "httpx", "uvicorn")
"""What these libraries log at a start, or of each request that the Studio sends, is of no use to an operator."""

LAST_LINES_SECONDS = 1.0
"""How long the end of the process waits for the last lines to be read."""

logger = logging.getLogger(__name__)


def configure(level: str, form: LogFormat, role: str, *, access: bool = True) -> None:
    """Write the log of this process to standard error, in place of what was set up before.

    Lines are written on a thread of their own (`LineWriter`), the last ones when the process ends (`logging.shutdown`,
    which Python calls). Python's warnings and the error that ends a thread or the process become records too.

    Args:
        level: the least level that is logged.
        form: how records are written.
        role: what the process is, such as `server` or `trainer`.
        access: whether each request is logged.

    """
    handler = _Handler(sys.stderr)
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


class _Handler(logging.Handler):
    """Formats records at once, and writes them on a thread of its own.

    A record that cannot be formatted is left out, since an error would show its text.
    """

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self._writer = LineWriter(stream, self._lost_line, lock=self.lock)
        self._is_stuck = False

    def emit(self, record: logging.LogRecord) -> None:
        """Queue the record's line."""
        try:
            line = self.format(record)
        except Exception:  # noqa: BLE001 - a record's arguments can raise anything
            line = self.format(_own_record(record.name, logging.ERROR, "a record could not be written"))
        # Whoever logs has no part in a fault of the log.
        with suppress(Exception):
            self._writer.put(line)

    def flush(self) -> None:
        """Wait until all is written that was logged, for at most `LAST_LINES_SECONDS`."""
        self._is_stuck = not self._writer.flush(LAST_LINES_SECONDS)

    def close(self) -> None:
        """Write what was logged, and end the thread. Does not wait again for whoever did not read at the last flush."""
        if not self._is_stuck:
            self.flush()
        self._writer.close()
        super().close()

    def _lost_line(self, lost: int) -> str:
        record = _own_record(__name__, logging.WARNING, "%d records were lost, since nobody read the log", lost)
        record.__dict__["action"] = "records_lost"
        return self.format(record)


def _own_record(name: str, level: int, message: str, *arguments: object) -> logging.LogRecord:
    return logging.LogRecord(name, level, "", 0, message, arguments, None)


def _log_last_error(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)
    else:
        logger.critical("an error has ended the process", exc_info=(kind, error, trace), extra={"action": "ended"})


def _log_thread_error(ended: threading.ExceptHookArgs) -> None:
    if ended.exc_value is not None and not issubclass(ended.exc_type, SystemExit):
        trace = (ended.exc_type, ended.exc_value, ended.exc_traceback)
        logger.error("an error has ended a thread", exc_info=trace, extra={"action": "thread_ended"})
